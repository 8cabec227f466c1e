import { expect, it } from 'vitest';
import { ModelledTime } from '../../src/exec/run/modelled-time.js';

const times = { model: 'ten', fault: 10, extraPage: 2, invalidate: 5 };

/** Each look at the clock takes a microsecond; `work` is what handling a request takes. */
function modelled(): { time: ModelledTime; request: (work: number, pages: number) => number } {
  let nowUs = 0;
  const time = new ModelledTime(times, () => nowUs++);
  const request = (work: number, pages: number): number => {
    const beganUs = nowUs;
    time.pageRequest();
    nowUs += work;
    time.map(0, 0, pages);
    time.pageResponse();
    return nowUs - beganUs;
  };
  return { time, request };
}

it('takes the time of the model for each request, and for each page beyond the first', () => {
  const { time, request } = modelled();
  for (let count = 0; count < 100; count++) request(3, 1);
  request(3, 6);
  const { stallSecondsLive, stallSecondsPriced } = time.summary;
  expect(stallSecondsPriced).toBe(1020e-6);
  expect(stallSecondsLive! - stallSecondsPriced!).toBeLessThanOrEqual(5e-6);
});

it('makes good what requests took too long, so that a run takes what all take by the model', () => {
  const { time, request } = modelled();
  expect(request(60, 1)).toBeGreaterThanOrEqual(60);
  expect(request(3, 1)).toBeLessThan(10);
  for (let count = 0; count < 19; count++) request(3, 1);
  const { stallSecondsLive, stallSecondsPriced } = time.summary;
  expect(stallSecondsPriced).toBe(210e-6);
  expect(stallSecondsLive! - stallSecondsPriced!).toBeLessThanOrEqual(5e-6);
});

it('does not hide that the machine stood still', () => {
  const { time, request } = modelled();
  request(2_000_000, 1);
  for (let count = 0; count < 20_000; count++) request(3, 1);
  const { stallSecondsLive, stallSecondsPriced } = time.summary;
  expect(stallSecondsLive! - stallSecondsPriced!).toBeGreaterThan(1.9);
});

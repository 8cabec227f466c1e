/** When the networks of a run have something to do: between frames, nothing. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { Networks } from '../../src/exec/machine/networks.js';
import { Background } from '../../src/exec/run/background.js';
import { allocateNative } from '../../src/mm/process/libc.js';

const SECOND_MS = 1000;
const ROUND_MS = 0.25;
const buffer = allocateNative(64);

let nowMs = 0;
let networks: Networks;
beforeEach(() => {
  nowMs = 0;
  networks = new Networks(() => nowMs * 1000, null);
});
afterEach(() => networks.close());

/** How often the networks have worked in so many milliseconds of rounds. */
function works(forMs: number): number {
  const run = vi.spyOn(networks, 'run');
  const background = new Background([networks]);
  for (const endMs = nowMs + forMs; nowMs < endMs; nowMs += ROUND_MS) background.run(nowMs);
  const times = run.mock.calls.length;
  run.mockRestore();
  return times;
}

describe('the networks of a run', () => {
  test('work for a line that takes time once for each frame, when it arrives', () => {
    const arrivedMs: number[] = [];
    const end = { send: () => void arrivedMs.push(nowMs), receive: () => 0 };
    const delay = { loss: 0, delayUs: 2000, rate: Number.POSITIVE_INFINITY, seed: 0 };
    const line = networks.impair(end, delay);
    expect(works(SECOND_MS)).toBe(0);
    line.send(buffer, 0, 60);
    nowMs++;
    line.send(buffer, 0, 60);
    expect(works(SECOND_MS)).toBe(2);
    expect(arrivedMs).toEqual([SECOND_MS + 2, SECOND_MS + 3]);
  });

  test('look every 50 ms who has come to a wire in a folder, and at once for frames that wait', () => {
    const folder = mkdtempSync(join(tmpdir(), 'test-networks-'));
    try {
      const one = networks.openLink(`unix:${folder}`);
      const two = networks.openLink(`unix:${folder}`);
      expect(works(SECOND_MS)).toBe(20);
      // More than a socket has room for.
      for (let frame = 0; frame < 1000; frame++) one.send(buffer, 0, 60);
      expect(works(100)).toBe(400);
      let came = 0;
      const take = (): void => {
        while (two.receive(buffer, 0, 64) > 0) came++;
      };
      do take();
      while (works(1) > 1);
      take();
      expect(came).toBe(1000);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});

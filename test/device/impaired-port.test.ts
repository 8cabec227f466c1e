/** Lines that lose frames, or take time, with a clock of the test's. */
import { describe, expect, test } from 'vitest';
import { ImpairedPort, type Impairment } from '../../src/device/impaired-port.js';
import type { DmaBuffer } from '../../src/mm/frame-memory.js';

const allocate = (bytes: number): DmaBuffer => ({
  bytes: new Uint8Array(bytes),
  address: 0,
  discard: () => {},
});

/** A line whose frames are told by their first byte. */
function line(impairment: Partial<Impairment>) {
  const clock = { us: 1000 };
  const arrived: number[] = [];
  const network = {
    send: ({ bytes }: DmaBuffer, offset: number) => void arrived.push(bytes[offset]!),
    receive: () => 7,
  };
  const whole = { loss: 0, delayUs: 0, rate: Number.POSITIVE_INFINITY, seed: 0, ...impairment };
  const port = new ImpairedPort(network, whole, allocate, () => clock.us);
  const buffer = allocate(4096);
  return {
    port,
    arrived,
    send(frame: number, length = 1000): void {
      buffer.bytes.fill(frame, 8, 8 + length);
      port.send(buffer, 8, length);
    },
    at(us: number): number[] {
      clock.us = us;
      port.deliver(us);
      return arrived.splice(0);
    },
  };
}

describe('what a card sends', () => {
  test('comes after its delay, no sooner, in order', () => {
    const { send, at } = line({ delayUs: 500 });
    send(1);
    expect(at(1200)).toEqual([]);
    send(2);
    expect(at(1499)).toEqual([]);
    expect(at(1500)).toEqual([1]);
    expect(at(1699)).toEqual([]);
    expect(at(1700)).toEqual([2]);
  });

  test('comes no faster than the rate: a thousand bytes at 8 Mbit/s take a millisecond each', () => {
    const { send, at } = line({ rate: 8e6 });
    for (const frame of [1, 2, 3]) send(frame);
    expect(at(1999)).toEqual([]);
    expect(at(2000)).toEqual([1]);
    expect(at(3500)).toEqual([2]);
    expect(at(9000)).toEqual([3]);
    send(4);
    expect(at(9999)).toEqual([]);
    expect(at(10000)).toEqual([4]);
  });

  test('is lost as often as it is said, the same frames with the same seed', () => {
    const lostOf = (seed: number): number[] => {
      const { send, arrived } = line({ loss: 0.25, seed });
      for (let frame = 0; frame < 200; frame++) send(frame);
      const came = new Set(arrived);
      return Array.from({ length: 200 }, (_, frame) => frame).filter((frame) => !came.has(frame));
    };
    expect(lostOf(1).length).toBeGreaterThan(30);
    expect(lostOf(1).length).toBeLessThan(70);
    expect(lostOf(1)).toEqual(lostOf(1));
    expect(lostOf(1)).not.toEqual(lostOf(2));
  });

  test('waits up to 4,096 frames; what comes then is lost, and takes no time of the line', () => {
    const { send, at } = line({ rate: 8e6 });
    for (let frame = 0; frame < 4096; frame++) send(1, 100);
    send(2, 100);
    expect(at(1000 + 4096 * 100)).toEqual(Array(4096).fill(1));
    send(3, 100);
    expect(at(1000 + 4097 * 100)).toEqual([3]);
  });
});

test('what a card receives passes at once', () => {
  const { port } = line({ loss: 1, delayUs: 500 });
  expect(port.receive(allocate(64), 0, 64)).toBe(7);
});

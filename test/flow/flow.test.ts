import { expect, test } from 'vitest';
import { DeadWait, runDirect } from '../../src/flow/direct.js';
import { type Flow, FlowLock, step } from '../../src/flow/flow.js';

test('the direct runner runs a flow to its end and gives what it ends in', () => {
  function* flow(): Flow<number> {
    yield step('here');
    yield step('here');
    return 7;
  }
  expect(runDirect(flow())).toBe(7);
});

test('a wait that nothing can end is reported by what it waits for', () => {
  function* flow(): Flow<void> {
    yield { what: 'drain of 0000:02:00.0', ready: () => false };
  }
  expect(() => runDirect(flow())).toThrow(DeadWait);
  expect(() => runDirect(flow())).toThrow('drain of 0000:02:00.0');
});

test('a lock lets one flow in at a time', () => {
  const lock = new FlowLock('container');
  const seen: string[] = [];
  function* flow(name: string): Flow<void> {
    yield* lock.acquire();
    seen.push(`${name} in`);
    yield step('here');
    seen.push(`${name} out`);
    lock.release();
  }
  const first = flow('a');
  const second = flow('b');
  first.next();
  const blocked = second.next();
  expect(blocked.done).toBe(false);
  expect(blocked.value?.ready()).toBe(false);
  first.next();
  expect(blocked.value?.ready()).toBe(true);
  second.next();
  second.next();
  expect(seen).toEqual(['a in', 'a out', 'b in', 'b out']);
  expect(lock.isHeld).toBe(false);
});

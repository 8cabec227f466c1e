import { expect, test } from 'vitest';
import { DeadWait, runDirect } from '../../src/flow/direct.js';
import { type Flow, FlowLock, freshStep, step } from '../../src/flow/flow.js';

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

test('two locks are taken in one step, when both are free, and keep others out', () => {
  const [one, other] = [new FlowLock('one'), new FlowLock('other')];
  runDirect(other.acquire());
  const both = one.acquireWith(other);
  const wait = both.next().value!;
  expect([wait.what, wait.ready(), one.isHeld]).toEqual(['one', false, false]);
  other.release();
  expect(wait.ready()).toBe(true);
  expect(both.next().done).toBe(true);
  expect([one.isHeld, other.isHeld]).toEqual([true, true]);
  for (const lock of [one, other]) {
    const blocked = lock.acquire();
    expect(blocked.next().value?.ready()).toBe(false);
    lock.release();
    expect(blocked.next().done).toBe(true);
    lock.release();
  }
  // One that is taken with itself.
  runDirect(one.acquireWith(one));
  expect(one.isHeld).toBe(true);
});

test('a step is a wait that is always over, and a fresh one relies on nothing', () => {
  expect(step('here')).toMatchObject({ what: 'step: here', always: true });
  expect([step('here').ready(), freshStep('there').ready()]).toEqual([true, true]);
  expect(freshStep('there')).toMatchObject({ what: 'step: there', always: true, reliesOn: null });
  expect('reliesOn' in step('here')).toBe(false);
});

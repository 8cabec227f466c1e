/** Scenarios that ask for more than there is, or for two things at once. */
import { expect, test } from 'vitest';
import { parseScenario } from '../../src/sim/scenario.js';

const block = { kind: 'block', memory: '8M', buffers: '2M', pattern: 'random', ioBytes: '16K' };
const blockTimes = { ios: 1, latency: '1us', bandwidth: '1G' };
const ring = { kind: 'ring', memory: '8M', pool: '2M', bufferBytes: 2048, entries: 8, packets: 1 };
const ringTimes = { packetsPerSecond: 1, packetTime: '1us', recycle: 'fifo' };
const boot = { reads: '1M', touched: '1M', bandwidth: '1G', latency: '1us' };
const idle = { time: '1s', workingSet: '1M', iosPerSecond: 1 };
const vm = { memory: '8M', boot, idle };
const vms = { kind: 'vms', slowdownBound: 10 };

const mistake = (workload: object): string => {
  try {
    parseScenario(JSON.stringify({ model: 'fast', workload }), 'it');
  } catch (error) {
    return (error as Error).message.replace(/^it:\d+: /, '');
  }
  return 'none';
};

test.each<[object, RegExp]>([
  [{ ...block, ...blockTimes }, /^none$/],
  [{ ...block, ...blockTimes, buffers: '8M' }, /^none$/],
  [{ ...block, ...blockTimes, buffers: '9M' }, /^workload\.buffers: are more than memory/],
  [{ ...block, ...blockTimes, ioBytes: '2M' }, /^none$/],
  [{ ...block, ...blockTimes, ioBytes: '3M' }, /^workload\.ioBytes: are more than buffers/],
  [{ ...ring, ...ringTimes, pool: '8M' }, /^none$/],
  [{ ...ring, ...ringTimes, pool: '9M' }, /^workload\.pool: is more than memory/],
  [
    { ...ring, ...ringTimes, pool: '16K', bufferBytes: 32768 },
    /^workload\.bufferBytes: are more than pool/,
  ],
  [{ kind: 'vm', ...vm }, /^none$/],
  [{ kind: 'vm', ...vm, boot: { ...boot, reads: '9M' } }, /boot\.reads: is more than memory/],
  [{ kind: 'vm', ...vm, boot: { ...boot, touched: '9M' } }, /boot\.touched: is more than memory/],
  [{ kind: 'vm', ...vm, givenBack: '9M' }, /givenBack: is more than memory/],
  [{ kind: 'vm', ...vm, idle: { ...idle, workingSet: '9M' } }, /workingSet: is more than memory/],
  [{ kind: 'vm', ...vm, idle: { ...idle, time: '1000s', iosPerSecond: 1e6 } }, /^none$/],
  [{ kind: 'vm', ...vm, idle: { ...idle, time: '1001s', iosPerSecond: 1e6 } }, /makes more than/],
  [{ ...vms, count: 2, vm }, /^none$/],
  [{ ...vms, vm }, /^workload\.count: is needed where there are no machines/],
  [{ ...vms, count: 2 }, /exactly one of vm, recording and memoryCurve/],
  [{ ...vms, count: 2, vm, recording: 'a' }, /exactly one of vm, recording and memoryCurve/],
  [{ ...vms, count: 2, vm: { ...vm, givenBack: '9M' } }, /^workload\.vm\.givenBack: is more/],
  [{ ...vms, machines: [{ name: 'a', count: 1, vm }] }, /^none$/],
  [{ ...vms, count: 1, machines: [{ name: 'a', count: 1, vm }] }, /in the place of count/],
  [{ ...vms, machines: [{ name: 'a', count: 1 }] }, /^workload\.machines\.0: exactly one of/],
  [
    { ...vms, machines: [{ name: 'a', count: 1, vm: { ...vm, givenBack: '9M' } }] },
    /^workload\.machines\.0\.vm\.givenBack: is more than memory/,
  ],
])('%j: %s', (workload, message) => {
  expect(mistake(workload)).toMatch(message);
});

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { progressLine } from '../../src/cli/progress.js';
import { readInput } from '../../src/sim/input.js';
import { parsePolicy } from '../../src/sim/policy.js';
import { parseScenario } from '../../src/sim/scenario.js';

const folder = mkdtempSync(join(tmpdir(), 'test-foreign-'));
afterAll(() => rmSync(folder, { recursive: true }));

function messageOf(content: string | Buffer): string {
  const path = join(folder, 'input');
  writeFileSync(path, content);
  try {
    readInput(path);
  } catch (error) {
    expect((error as Error).name).toBe('UserError');
    return (error as Error).message.replace(folder, '');
  }
  return 'nothing was thrown';
}

const BLOCK = `workload:
  kind: block
  memory: 64M
  buffers: 32M
  pattern: random
  ioBytes: 16K
  ios: 3000
  latency: 20us
  bandwidth: 3G
`;

describe('a file of another tool is told in one sentence', () => {
  test.each<[string, string | Buffer]>([
    ['an I/O log of fio', 'fio version 3 iolog\n0 /dev/nvme0n1 add\n12 /dev/nvme0n1 read 0 4096\n'],
    [
      'text of ftrace or trace-cmd',
      'cpus=2\n            qemu-42  [001]   512.123456: map:  IOMMU: iova=0x1000 - 0x3000 size=8192\n',
    ],
    [
      'text of ftrace or trace-cmd',
      '            qemu-42  [001] d..1.  512.123456: map: IOMMU: x\n',
    ],
    ['text of perf script', 'qemu 4242 [001]   512.123456: iommu:map: IOMMU: iova=0x1000\n'],
    [
      'text of blktrace',
      '259,0    1   1   0.000000000  4162  A   R 383496 + 8 <- (259,1) 381448\n',
    ],
    ['a block trace in CSV (MSR Cambridge)', '128166372003061629,hm,0,Read,383496192,32768,413\n'],
    ['CSV', 'time,op,offset,size\n1,read,0,4096\n'],
    ['a file compressed with gzip', Buffer.from([0x1f, 0x8b, 8, 0])],
    ['a perf.data', 'PERFILE2\0\0\0\0'],
    ['binary data', Buffer.from([1, 2, 0, 4])],
    ['a trace in JSON (Chrome, Perfetto)', '[\n{"name":"map","ph":"i","ts":1}\n]'],
    ['JSON of another kind', '{"name": "iopf"}'],
    ['empty', ''],
    ['text of another kind', 'root:x:0:0:root:/root:/bin/bash\n'],
  ])('%s', (what, content) => {
    expect(messageOf(content)).toMatch(
      new RegExp(
        `^/input is ${what.replace(/[()]/g, '\\$&')}, neither a scenario .* nor a recording .*`,
      ),
    );
  });
});

describe('a scenario', () => {
  test('is one document', () => {
    expect(messageOf(`${BLOCK}---\n${BLOCK}`)).toMatch(/^\/input:1\d: a second YAML document/);
  });

  test('cannot stand for more than it says', () => {
    const lines = 'abcdefghi'.split('').map((name, index, all) => {
      const of = index === 0 ? 'x' : `*${all[index - 1]}`;
      return `${name}: &${name} [${new Array(9).fill(of).join(',')}]\n`;
    });
    expect(messageOf(`about: x\n${lines.join('')}workload: *i\n`)).toContain('aliases (*name)');
  });

  test('is not nested without end', () => {
    expect(messageOf(`workload: ${'['.repeat(50_000)}`)).toMatch('nested too deeply');
  });

  test.each([
    ['ioBytes: 16K', 'ioBytes: 512G', 'x:6: workload.ioBytes: must be at most 256M'],
    ['ioBytes: 16K', 'ioBytes: 64M', 'x:6: workload.ioBytes: are more than buffers'],
    ['buffers: 32M', 'buffers: 1T', 'x:4: workload.buffers: are more than memory'],
    ['memory: 64M', 'memory: 300T', 'x:3: workload.memory: must be at most 256T'],
    ['ios: 3000', 'ios: 1e15', 'x:7: workload.ios: Too big: expected number to be <=1000000000'],
    ['latency: 20us', 'latency: 99999999s', 'x:8: workload.latency: must be at most 1000000s'],
  ])('with %s as %s is refused', (was, is, message) => {
    expect(() => parseScenario(BLOCK.replace(was, is), 'x')).toThrow(message);
  });

  test('has a policy’s options once each', () => {
    expect(() => parsePolicy('iopf:premap=2:premap=3')).toThrow('premap is given twice');
    expect(() => parsePolicy('iopf:premap=2=3')).toThrow('premap=2=3');
  });
});

describe('a long comparison says how far it is', () => {
  const lines: string[] = [];
  let clock = 0;
  const put = (text: string): void => void lines.push(text);
  test('on a terminal in a line that is written over, and in a log now and then', () => {
    const shown = progressLine(true, () => clock, put, put);
    clock = 100;
    shown.show('a.yaml, iopf', 0.01);
    expect(lines).toEqual([]);
    clock = 10_000;
    shown.show('a.yaml, iopf', 0.25);
    shown.clear();
    expect(lines).toEqual(['\r\x1b[K25 % done, about 30 s left: a.yaml, iopf', '\r\x1b[K']);
    lines.length = 0;
    clock = 0;
    const logged = progressLine(false, () => clock, put, put);
    for (clock = 0; clock < 60_000; clock += 1000) logged.show('x', clock / 600_000);
    expect(lines).toEqual([
      '1.7 % done, about 10 min left: x',
      '3.3 % done, about 10 min left: x',
      '6.7 % done, about 9 min left: x',
    ]);
  });
});

import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { UserError } from '../../src/input/user-error.js';
import { importKinds, importText } from '../../src/sim/import/index.js';
import { readModel } from '../../src/sim/input.js';
import { parsePolicy } from '../../src/sim/policy.js';
import { replay } from '../../src/sim/replay.js';
import { runOnce } from '../../src/sim/run.js';
import { recordEvents } from '../../src/trace/event-recorder.js';
import { damageOf, eventsOf, parseRecording } from '../../src/trace/recording.js';
import { formatEvent, formatHeader } from '../../src/trace/recording-text.js';

const folder = mkdtempSync(join(tmpdir(), 'iopf-import-'));
afterAll(() => rmSync(folder, { recursive: true }));

/** A file of each kind as its tool writes it, its events, and a line of it that is damaged. */
const samples = {
  csv: {
    text: `time_us,address,op,bytes
0,0x100000000,write,8192
12.5,0x100001000,R,64
40,0x200000000,W,4096
`,
    events: [
      'map iova=[0x100000000, 0x100002000)',
      'map iova=[0x200000000, 0x200001000)',
      'write iova=[0x100000000, 0x100002000)',
      'read iova=[0x100001000, 0x100002000)',
      'write iova=[0x200000000, 0x200001000)',
    ],
    damage: ['12.5,0x100001000,R', 'x:3: 3 fields; the head has 4'],
  },
  'memory-curve': {
    text: `timestamp,resident_mib
1764345600,1
1764345610,3
1764345620,2
`,
    events: [
      'map iova=[0x100000000, 0x100300000)',
      'write iova=[0x100000000, 0x100100000)',
      'read iova=[0x100000000, 0x100010000)',
      'write iova=[0x100100000, 0x100300000)',
      'invalidate vaddr=[0x20000200000, 0x20000300000)',
      'read iova=[0x100010000, 0x100030000)',
    ],
    damage: ['1764345610,three', 'x:3: the memory must be a number, not "three"'],
  },
  fio: {
    text: `fio version 3 iolog
0 /dev/nvme0n1 add
3 /dev/nvme0n1 open
105 /dev/nvme0n1 read 8192 8192
290 /dev/nvme0n1 write 8192 4096
400 /dev/nvme0n1 close
`,
    events: [
      'map iova=[0x100000000, 0x100002000)',
      'write iova=[0x100000000, 0x100002000)',
      'read iova=[0x100000000, 0x100001000)',
    ],
    damage: ['105 /dev/nvme0n1 raed 8192 8192', 'x:4: unknown action "raed"'],
  },
  blkparse: {
    text: `  8,0    3        1     0.000000000   697  Q   R 223488 + 8 [qemu]
  8,0    3        2     0.000001829   697  G   R 223488 + 8 [qemu]
  8,0    3        3     0.000007500   697  D   R 223488 + 8 [qemu]
  8,0    1        1     0.000190000     0  C   R 223488 + 8 [0]
  8,0    3        4     0.000200500   697  D  WS 223496 + 16 [qemu]
CPU3 (8,0):
 Reads Queued:           1,        4KiB	 Writes Queued:           1,        8KiB
`,
    events: [
      'map iova=[0x100000000, 0x100003000)',
      'write iova=[0x100000000, 0x100001000)',
      'read iova=[0x100001000, 0x100003000)',
    ],
    damage: ['  8,0    3   0.000007500', 'x:3: an event of blkparse is needed'],
  },
  msr: {
    text: `128166372003061629,usr,0,Read,7014609920,24576,41286
128166372016382155,usr,0,Write,7014609920,4096,1010
`,
    events: [
      // The offset is a sector's, in the middle of a block.
      'map iova=[0x100000000, 0x100007000)',
      'write iova=[0x100000000, 0x100007000)',
      'read iova=[0x100000000, 0x100002000)',
    ],
    damage: ['128166372016382155,usr,0,Erase,1,4096,1', 'x:2: the type must be Read or Write'],
  },
  kernel: {
    text: [
      'cpus=2',
      ' kworker/0:1-23    [000] 100.000100: map:                  IOMMU: iova=0x00000000fff00000 - 0x00000000fff02000 paddr=0x0000000101000000 size=8192',
      ' kworker/0:1-23    [000] 100.000150: unmap:                IOMMU: iova=0x00000000fff00000 - 0x00000000fff02000 size=8192 unmapped_size=8192',
    ].join('\n'),
    events: [
      'map iova=[0xfff00000, 0xfff02000)',
      'write iova=[0xfff00000, 0xfff02000)',
      'unmap iova=[0xfff00000, 0xfff02000)',
    ],
    damage: [
      ' kworker/0:1-23 [000] 100.000150: unmap: IOMMU: size=1',
      'x:3: an address is missing',
    ],
  },
  chrome: {
    text: `[
{"name":"process_name","ph":"M","pid":7,"tid":7,"args":{"name":"qemu"}},
{"pid":7,"tid":7,"ts":10,"name":"page request","cat":"0000:02:00.0","ph":"b","id":"0000:02:00.0/-1/0","args":{"iova":"0x5000","access":2,"pasid":-1,"group":0,"last":true}},
{"pid":7,"tid":7,"ts":11,"name":"map","ph":"i","s":"t","args":{"iova":"0x5000","paddr":"0x7000","size":4096}},
{"pid":7,"tid":7,"ts":90,"name":"unmap","ph":"i","s":"t","args":{"iova":"0x5000","size":4096,"unmapped":4096}}
]
`,
    events: [
      'map iova=[0x5000, 0x6000)',
      'write iova=[0x5000, 0x6000)',
      'invalidate vaddr=[0x20000000000, 0x20000001000)',
    ],
    damage: ['{"pid":7,"tid":7,"ts":10,"name":"page', 'x:3: no JSON'],
  },
} as const satisfies Record<
  (typeof importKinds)[number],
  { text: string; events: readonly string[]; damage: readonly [line: string, message: string] }
>;

function messageOf(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    if (error instanceof UserError) return error.message;
    throw error;
  }
  return 'nothing was thrown';
}

describe.each(importKinds)('a file of the kind %s', (kind) => {
  const { damage, events, text } = samples[kind];

  it('is known by how it begins, and comes back from the recording, with what was assumed', () => {
    const imported = importText(text, 'x');
    const path = join(folder, kind);
    const header = {
      program: imported.what,
      arguments: ['x'],
      kernel: '6.1',
      iopf: 'auto',
      premap: 1,
    };
    const { assumptions } = imported;
    expect(recordEvents(path, { ...header, assumptions }, imported.events)).toBeNull();
    const recording = parseRecording(readFileSync(path), path);
    expect(damageOf(path, recording)).toBeNull();
    const shown = [...eventsOf(recording)].map((event) => formatEvent(event).replace(/^\S+ /, ''));
    expect(shown.length).toBe(events.length);
    for (const [index, line] of events.entries()) expect(shown[index]).toContain(line);
    expect(assumptions.length).toBeGreaterThan(0);
    for (const each of assumptions) expect(formatHeader(recording)).toContain(`# assumed: ${each}`);
    // Every page that is accessed is mapped: a replay has no refused accesses.
    const outcome = runOnce({
      input: path,
      workloads: [replay(recording)],
      policy: parsePolicy('iopf'),
      model: readModel('measured'),
      seed: 1,
    });
    expect(outcome).toMatchObject({ kind: 'done', detail: { refused: 0 } });
  });

  it('that is damaged is told with the number of the line', () => {
    const [line, message] = damage;
    const number = Number(/^x:(\d+)/.exec(message)![1]);
    const lines = text.split('\n');
    lines[number - 1] = line;
    expect(messageOf(() => importText(lines.join('\n'), 'x', kind))).toContain(message);
  });
});

describe('an import', () => {
  it('of an IOMMU without the size of what is mapped is told with its line', () => {
    const unmap = 'task-1 [000] 1.000001: unmap: IOMMU: iova=0x1000 size=zz unmapped_size=4096\n';
    expect(() => importText(unmap, 'x', 'kernel')).toThrow('x:1: a size is missing: size=4096');
  });

  it('of waits, other units and lines out of order says what it made of them', () => {
    const fio = importText(
      'fio version 2 iolog\na add\na open\na read 0 4096\na wait 500 0\na read 4096 4096\n',
      'x',
    );
    expect(fio.events.map(({ time }) => time)).toEqual([0, 0, 500]);
    const csv = importText('time_ms,page,op\n5,2,r\n1,1,r\n', 'x');
    expect(csv.events.map(({ time }) => time)).toEqual([0, 0, 4000]);
    expect(csv.assumptions.join()).toContain('not in order of time');
  });

  it('with more blocks than its page cache lets them share pages', () => {
    const lines = Array.from({ length: 10 }, (_, io) => `${io} /d read ${io * 4096} 4096`);
    const text = `fio version 3 iolog\n${lines.join('\n')}\n`;
    const { assumptions, events } = importText(text, 'x', null, 4 * 4096);
    expect(events[0]).toMatchObject({ kind: 'map', pages: 4 });
    expect(assumptions.join()).toContain('4 such pages');
  });

  it('of nothing, of what is unknown, and of what has no access is refused', () => {
    expect(messageOf(() => importText('\n', 'x'))).toContain('x is empty');
    expect(messageOf(() => importText('hello\n', 'x'))).toContain('--from says it');
    expect(messageOf(() => importText('time,page,op\n', 'x'))).toContain(
      'no device reaches memory',
    );
    expect(messageOf(() => importText('fio version 1 iolog\n', 'x'))).toContain('version 2 or 3');
    const far = 'time,address,op,bytes\n0,281474976710656,r,1\n';
    expect(messageOf(() => importText(far, 'x'))).toContain(
      'x:2: the address has more than 48 bits',
    );
  });
});

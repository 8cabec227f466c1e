import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import { UserError } from '../../src/input/user-error.js';
import { Counters } from '../../src/iommu/observer.js';
import { READ, WRITE } from '../../src/mm/address-space.js';
import { Recorder } from '../../src/trace/recorder.js';
import {
  damageOf,
  eventsOf,
  parseRecording,
  type RecordedEvent,
} from '../../src/trace/recording.js';
import { checksum } from '../../src/trace/recording-format.js';
import { formatEvent, formatHeader } from '../../src/trace/recording-text.js';

const GOLDEN =
  'SU9QRlJFQwpXAAAAC/aUrAF7InZlcnNpb24iOjEsInByb2dyYW0iOiJwIiwiYXJndW1lbnRzIjpbImEiXSwia2VybmVs' +
  'IjoiNi4xMiIsImlvcGYiOiJhdXRvIiwicHJlbWFwIjoxfSAAAADtjaljAAADgIBA2ASAgICAQAcDHiCAgIABBICIgAEB' +
  'ARMFFwYjAAAAQsKWzAAH/sCNtwELA4CAgIBAAhsDgoCAgEABD4GAQAeAgEDYBB8DegAAAO8Rc1cCeyJmYXVsdHMiOjAs' +
  'ImludmFsaWRhdGlvbnMiOjAsInBhZ2VzRmF1bHRlZEluIjowLCJwYWdlc1ByZW1hcHBlZCI6MCwicGFnZXNJbnZhbGlk' +
  'YXRlZCI6MCwicGFnZXNSZWNsYWltZWQiOjAsImFjY2Vzc2VzIjo0fQ==';
const EVENTS = [
  '0.000000 map iova=[0x100000000, 0x100258000) vaddr=0x400000000000 rw pinned space=3',
  '0.000007 read iova=[0x100000000, 0x100002000)',
  '0.000007 read iova=[0x100200000, 0x100201000)',
  '0.000007 write iova=[0x100001000, 0x100002000)',
  '0.000007 read iova=[0x5000, 0x6000) refused',
  '0.000007 write iova=[0x6000, 0x7000) refused',
  '3.000007 invalidate vaddr=[0x400000000000, 0x400000002000) space=3',
  '3.000007 reclaim vaddr=[0x400000002000, 0x400000003000) space=3',
  '3.000007 lost iova=[0x100001000, 0x100002000)',
  '3.000007 unmap iova=[0x100000000, 0x100258000)',
  '3.000007 ended space=3',
];

const folder = mkdtempSync(join(tmpdir(), 'iopf-recording-'));
afterAll(() => rmSync(folder, { recursive: true }));
const path = join(folder, 'run.rec');
const header = { program: 'p', arguments: ['a'], kernel: '6.12', iopf: 'auto', premap: 1 };

/** Records what `act` tells, with a clock that it moves. */
function record(
  act: (recorder: Recorder, pass: (us: number) => void) => void,
  close = true,
): Uint8Array {
  let clock = 1000;
  const recorder = new Recorder(path, header, new Counters(), () => clock);
  act(recorder, (us) => {
    clock += us;
  });
  if (close) recorder.close();
  return readFileSync(path);
}

function events(bytes: Uint8Array): RecordedEvent[] {
  return [...eventsOf(parseRecording(bytes, 'run.rec'))];
}

const page = fc.oneof(fc.integer({ min: 0, max: 300 }), fc.integer({ min: 0, max: 2 ** 36 - 1 }));

describe('the format', () => {
  it('has the CRC-32 of zip: 0xcbf43926 of its check value', () => {
    expect(checksum(Buffer.from('123456789'))).toBe(0xcbf43926);
  });

  const everyEvent = (): Uint8Array =>
    record((recorder, pass) => {
      const mapping = {
        iovaPage: 0x100000,
        pages: 600,
        vaddrPage: 2 ** 34,
        permission: READ | WRITE,
        pinnedByFlag: true,
        mm: { id: 3 },
      };
      recorder.mappingAdded(mapping as never);
      pass(7);
      for (const page of [0x100000, 0x100001, 0x100200]) recorder.accessed(page, READ, false);
      recorder.accessed(0x100001, WRITE, false);
      recorder.accessed(5, READ, true);
      recorder.accessed(6, WRITE, true);
      pass(3_000_000);
      recorder.invalidate(3, 2 ** 34, 2, 1, false);
      recorder.invalidate(3, 2 ** 34 + 2, 1, 1, true);
      recorder.pageLost(null, 0x100001);
      recorder.mappingRemoved(mapping as never);
      recorder.spaceEnded(3);
    });

  it('has faults on purpose, by the rules of its head, in version 2', () => {
    const inject = { rules: ['dma:refuse', 'call:*=EIO'], seed: 7 };
    const recorder = new Recorder(path, { ...header, inject }, new Counters(), () => 0);
    recorder.faultMade('call:*=EIO');
    recorder.close();
    const recording = parseRecording(readFileSync(path), 'run.rec');
    expect(recording.header).toMatchObject({ version: 2, inject });
    expect([...eventsOf(recording)]).toEqual([{ kind: 'injected', time: 0, rule: 'call:*=EIO' }]);
  });

  it('names a rule by its number where its head had no room for the rules', () => {
    const inject = { rules: ['dma:refuse'], seed: 7 };
    const recorder = new Recorder(path, { ...header, inject }, new Counters(), () => 0);
    recorder.faultMade('dma:refuse');
    recorder.close();
    const recording = parseRecording(readFileSync(path), 'run.rec');
    const without = { ...recording.header, inject: { rules: [], seed: 7 } };
    expect([...eventsOf({ ...recording, header: without })]).toEqual([
      { kind: 'injected', time: 0, rule: 'rule 1' },
    ]);
  });

  // Reader and writer could change together, and nobody could read what he has.
  it('stays as it is: a recording of every event, made in November 2026, reads as ever', () => {
    const golden = Buffer.from(GOLDEN, 'base64');
    const told = events(golden).map((event) => formatEvent(event));
    expect(told).toEqual(EVENTS);
    expect(formatHeader(parseRecording(golden, 'golden.rec'))).toBe(
      '# p a: Linux 6.12, IOPF auto, pre-map 1; 0 faults, 0 invalidations, 4 page accesses',
    );
    expect(Buffer.from(everyEvent()).toString('base64')).toBe(GOLDEN);
    expect(damageOf('golden.rec', parseRecording(golden, 'golden.rec'))).toBeNull();
  });
});

describe('a recording', () => {
  it('gives back what was recorded, whatever it was', () => {
    const access = fc.record({
      kind: fc.constant('access' as const),
      page,
      access: fc.constantFrom(READ, WRITE),
      pass: fc.integer({ min: 0, max: 200 }),
    });
    const map = fc.record({
      kind: fc.constant('map' as const),
      page,
      pages: page,
      vaddr: page,
      pass: fc.constant(0),
    });
    const gone = fc.record({
      kind: fc.constant('invalidate' as const),
      page,
      pages: page,
      reclaimed: fc.boolean(),
      pass: fc.constant(1_000_000),
    });
    fc.assert(
      fc.property(fc.array(fc.oneof(access, map, gone), { maxLength: 200 }), (told) => {
        const bytes = record((recorder, pass) => {
          for (const event of told) {
            pass(event.pass);
            if (event.kind === 'access') recorder.accessed(event.page, event.access, false);
            else if (event.kind === 'invalidate')
              recorder.invalidate(3, event.page, event.pages, 1, event.reclaimed);
            else
              recorder.mappingAdded({
                iovaPage: event.page,
                pages: event.pages,
                vaddrPage: event.vaddr,
                permission: READ | WRITE,
                pinnedByFlag: false,
                mm: { id: 3 },
              });
          }
        });
        // Runs are taken apart again, and pieces of one page are one access.
        const flat: string[] = [];
        for (const event of events(bytes)) {
          if (event.kind !== 'access') flat.push(formatEvent({ ...event, time: 0 }));
          else
            for (let i = 0; i < event.count; i++)
              flat.push(formatEvent({ ...event, time: 0, iovaPage: event.iovaPage + i, count: 1 }));
        }
        const expected: string[] = [];
        for (const event of told) {
          const line =
            event.kind === 'access'
              ? formatEvent({ ...event, time: 0, iovaPage: event.page, count: 1 })
              : event.kind === 'invalidate'
                ? formatEvent({
                    kind: 'invalidate',
                    time: 0,
                    space: 3,
                    first: event.page,
                    count: event.pages,
                    reclaimed: event.reclaimed,
                  })
                : formatEvent({
                    kind: 'map',
                    time: 0,
                    iovaPage: event.page,
                    pages: event.pages,
                    vaddrPage: event.vaddr,
                    permission: READ | WRITE,
                    pinned: false,
                    space: 3,
                  });
          if (event.kind !== 'access' || expected.at(-1) !== line) expected.push(line);
        }
        expect(flat).toEqual(expected);
      }),
      { numRuns: 200 },
    );
  });

  it('keeps times, and leaves out those of faults', () => {
    const bytes = record((recorder, pass) => {
      pass(62);
      recorder.accessed(1, READ, false);
      pass(63);
      recorder.accessed(9, READ, false);
      recorder.pageRequest();
      pass(5000);
      recorder.pageResponse();
      pass(1000);
      recorder.accessed(5, WRITE, true);
    });
    expect(events(bytes).map(({ kind, time }) => [kind, time])).toEqual([
      ['access', 62],
      ['access', 125],
      ['refused', 1125],
    ]);
  });

  it('takes at most four bytes for an access at random, and far fewer in runs', () => {
    let state = 1;
    const random = record((recorder) => {
      for (let i = 0; i < 20_000; i++) {
        state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
        recorder.accessed(0x100000 + (state % 2 ** 18), WRITE, false);
      }
    });
    expect(random.length / 20_000).toBeLessThanOrEqual(4.02);
    const runs = record((recorder) => {
      for (let i = 0; i < 20_000; i++) recorder.accessed(0x100000 + i, WRITE, false);
    });
    expect(runs.length).toBeLessThan(400);
  });

  it('tells the end of an address space from memory that was taken away', () => {
    const bytes = record((recorder) => {
      recorder.invalidate(3, 5, 2, 1, false);
      recorder.spaceEnded(3);
    });
    expect(events(bytes).map((event) => formatEvent({ ...event, time: 0 }))).toEqual([
      '0.000000 invalidate vaddr=[0x5000, 0x7000) space=3',
      '0.000000 ended space=3',
    ]);
  });

  it('is on the disk within a second also when nothing happens any more', () => {
    const bytes = record((recorder, pass) => {
      recorder.accessed(7, READ, false);
      pass(600_000);
      recorder.tick();
      pass(600_000);
      recorder.tick();
    }, false);
    const recording = parseRecording(bytes, 'run.rec');
    expect(recording.end).toBeNull();
    expect(damageOf('run.rec', recording)).toContain('has no end');
    expect(events(bytes)).toMatchObject([{ kind: 'access', iovaPage: 7, count: 1 }]);
  });
});

describe('a damaged recording', () => {
  const whole = record((recorder, pass) => {
    for (let i = 0; i < 3; i++) {
      recorder.accessed(i * 10, READ, false);
      pass(600_000);
      recorder.tick();
    }
  });

  it('is told with the offset, and what stands before the damage is readable', () => {
    for (let length = 8; length < whole.length; length++) {
      const cut = whole.slice(0, length);
      let recording: ReturnType<typeof parseRecording>;
      try {
        recording = parseRecording(cut, 'run.rec');
      } catch (error) {
        expect(error).toBeInstanceOf(UserError);
        continue;
      }
      const message = damageOf('run.rec', recording);
      expect(message).not.toBeNull();
      expect(recording.blocks.length).toBeLessThanOrEqual(3);
      [...eventsOf(recording)];
    }
    const flipped = whole.slice();
    flipped[whole.length - 20]! ^= 1;
    const recording = parseRecording(flipped, 'run.rec');
    expect(recording.damage!.message).toContain('checksum');
    expect(damageOf('run.rec', recording)).toContain('3 blocks of events before it can be read');
    expect(events(flipped)).toHaveLength(3);
  });

  it('never reads as whole after any byte has changed', () => {
    for (let at = 8; at < whole.length; at++) {
      const changed = whole.slice();
      changed[at]! ^= 0x55;
      try {
        expect(
          damageOf('run.rec', parseRecording(changed, 'run.rec')),
          `byte ${at}`,
        ).not.toBeNull();
      } catch (error) {
        expect(error).toBeInstanceOf(UserError);
      }
    }
  });

  it('cannot ask for endless work, even with right checksums', () => {
    const endless = record((recorder) => {
      recorder.accessed(2 ** 36 + 5, READ, false);
    });
    expect(() => events(endless)).toThrow('a run of 1 pages at page 68719476741');
  });

  const block = (kind: number, content: string | Uint8Array): Uint8Array => {
    const payload = Buffer.concat([Buffer.of(kind), Buffer.from(content as string)]);
    const head = Buffer.alloc(8);
    head.writeUInt32LE(payload.length, 0);
    head.writeUInt32LE(checksum(payload), 4);
    return Buffer.concat([head, payload]);
  };
  const made = (...blocks: Uint8Array[]): Uint8Array =>
    Buffer.concat([Buffer.from('IOPFREC\n'), ...blocks]);
  const head = { version: 1, ...header };
  const good = block(1, JSON.stringify(head));
  const end = { faults: 1, invalidations: 0, pagesFaultedIn: 0, pagesPremapped: 0 };

  it.each<[string, Uint8Array, string]>([
    ['another version', block(1, JSON.stringify({ ...head, version: 3 })), 'of version 3'],
    ['a pre-map of 0', block(1, JSON.stringify({ ...head, premap: 0 })), 'is damaged: premap'],
    ['a pre-map of 513', block(1, JSON.stringify({ ...head, premap: 513 })), 'damaged: premap'],
    ['an IOPF mode that is none', block(1, JSON.stringify({ ...head, iopf: 'x' })), ': iopf'],
    ['a header that is no JSON', block(1, '{'), 'should hold JSON'],
    ['a header of null', block(1, 'null'), 'its header is damaged'],
    ['no header', block(2, JSON.stringify({})), 'its end is damaged'],
    ['nothing', Buffer.of(), 'damaged at offset 8: no header; nothing was readable'],
    ['a block of no kind', block(3, ''), 'offset 8: a block of the unknown kind 3'],
  ])('is refused with %s', (_, first, message) => {
    expect(() => parseRecording(made(first), 'a.rec')).toThrow(UserError);
    expect(() => parseRecording(made(first), 'a.rec')).toThrow(message);
  });

  it('has counts that are whole numbers', () => {
    const counted = { ...end, pagesInvalidated: 3, accesses: 7 };
    const read = (value: object) =>
      parseRecording(made(good, block(2, JSON.stringify(value))), 'a');
    expect(read(counted).end).toEqual(counted);
    expect(() => read({ ...counted, accesses: -1 })).toThrow('its end is damaged: accesses');
    expect(() => read({ ...counted, faults: 0.5 })).toThrow('its end is damaged: faults');
  });

  it.each<[string, number[], string]>([
    ['an event that is none', [0, 3 | (8 << 2)], 'an event of the unknown kind 8'],
    ['an event that is cut off', [0, 3], 'a block ends inside an event'],
    ['a number without end', [0, 3, ...Array(9).fill(0x80)], 'a number is too long'],
    ['a run before the first page', [0, 0, 1], 'a run of 1 pages at page -1'],
    ['a run that is too long', [0, 0xe0, 0, 0xf9, 0xff, 0x3f], 'a run of 1048577 pages at page 0'],
  ])('with %s is told so where it is read', (_, bytes, message) => {
    const recording = parseRecording(made(good, block(0, Uint8Array.from(bytes))), 'a');
    expect(() => [...eventsOf(recording)]).toThrow(message);
  });

  it('may have the longest run, and says how far it is read', () => {
    const longest = block(0, Uint8Array.from([0, 0xe0, 0, 0xf8, 0xff, 0x3f]));
    const recording = parseRecording(made(good, longest, longest), 'a');
    const shares: number[] = [];
    const runs = [...eventsOf(recording, (share) => shares.push(share))];
    expect(runs.map((run) => 'count' in run && run.count)).toEqual([2 ** 20, 2 ** 20]);
    expect(shares).toEqual([0, 0.5]);
    expect(formatHeader(recording)).toBe('# p a: Linux 6.12, IOPF auto, pre-map 1');
    expect(damageOf('a', recording)).toContain('a: the recording has no end');
  });

  it('is no recording where its first bytes are others', () => {
    expect(() => parseRecording(Buffer.from('groups: []'), 'a.yaml')).toThrow('not a recording');
  });
});

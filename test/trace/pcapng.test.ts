/** Captures of network cards: as draft-ietf-opsawg-pcapng has them, and as tshark reads them. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { Pcapng } from '../../src/trace/pcapng.js';
import { have } from '../skip.js';

const folder = mkdtempSync(join(tmpdir(), 'test-pcapng-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const path = join(folder, 'run.pcapng');
const START_US = 1_795_884_490_778_300;

/** Two ports, a frame of 61 bytes out of the first, one of 1,514 into the second, 1.5 ms later. */
function writeCapture(): void {
  let nowUs = START_US;
  const capture = new Pcapng(path, () => nowUs);
  const ports = [capture.addInterface('igb@0000:01:00.0'), capture.addInterface('port two')];
  expect(ports).toEqual([0, 1]);
  const frames = new Uint8Array(2000).map((_, index) => index);
  capture.frame(0, frames, 3, 61, true);
  nowUs += 1500;
  capture.frame(1, frames, 100, 1514, false);
  expect(capture.close()).toBe(null);
}

/** Type and content of each block; throws where the two lengths of one differ. */
function blocks(): { type: number; content: Buffer }[] {
  const bytes = readFileSync(path);
  const found = [];
  for (let at = 0; at < bytes.length; ) {
    const length = bytes.readUInt32LE(at + 4);
    expect(length % 4).toBe(0);
    expect(bytes.readUInt32LE(at + length - 4)).toBe(length);
    found.push({
      type: bytes.readUInt32LE(at),
      content: bytes.subarray(at + 8, at + length - 4),
    });
    at += length;
  }
  return found;
}

test('a section, its interfaces with their names, and packets with time, length, bytes and way', () => {
  writeCapture();
  const [section, one, two, sent, got, ...rest] = blocks();
  expect(rest).toEqual([]);
  expect([section, one, two, sent, got].map((block) => block!.type)).toEqual([
    0x0a0d0d0a, 1, 1, 6, 6,
  ]);
  expect(section!.content.subarray(0, 8).toString('hex')).toBe('4d3c2b1a01000000');
  expect(one!.content.subarray(12, 28).toString()).toBe('igb@0000:01:00.0');
  expect(two!.content.subarray(12, 20).toString()).toBe('port two');
  const time = sent!.content.readUInt32LE(4) * 2 ** 32 + sent!.content.readUInt32LE(8);
  expect(time).toBe(START_US);
  expect([0, 12, 16].map((at) => sent!.content.readUInt32LE(at))).toEqual([0, 61, 61]);
  expect([...sent!.content.subarray(20, 84)]).toEqual([
    ...Array.from({ length: 61 }, (_, index) => index + 3),
    ...[0, 0, 0],
  ]);
  expect(sent!.content.subarray(84).toString('hex')).toBe('020004000200000000000000');
  expect([0, 12, 16].map((at) => got!.content.readUInt32LE(at))).toEqual([1, 1514, 1514]);
  expect(got!.content.subarray(-12).toString('hex')).toBe('020004000100000000000000');
});

test('frames get to the file while the run goes on, and end at a whole block where it is full', () => {
  let nowUs = START_US;
  const capture = new Pcapng(path, () => nowUs);
  capture.addInterface('port');
  capture.frame(0, new Uint8Array(64), 0, 64, true);
  nowUs += 600_000;
  capture.tick();
  expect(blocks()).toHaveLength(3);
  for (let frame = 0; frame < 100; frame++) capture.frame(0, new Uint8Array(1500), 0, 1500, true);
  expect(blocks().length).toBeGreaterThan(3);
  capture.close();
  expect(blocks()).toHaveLength(103);

  const full = new Pcapng('/dev/full', () => nowUs);
  full.addInterface('port');
  expect(full.close()).toBe('the capture /dev/full is incomplete: ENOSPC');
});

test('a run that is refused leaves the file as it was', () => {
  writeFileSync(path, 'before');
  new Pcapng(path, () => START_US).discard();
  expect(readFileSync(path, 'utf8')).toBe('before');
});

test.skipIf(!have('tshark', 'captures as Wireshark reads them'))('tshark reads a capture', () => {
  writeCapture();
  const fields = ['interface_name', 'time_epoch', 'len', 'packet_flags_direction'];
  const words = fields.flatMap((field) => ['-e', `frame.${field}`]);
  const run = (command: string, ...all: string[]): string =>
    execFileSync(command, all, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
  expect(run('tshark', '-n', '-r', path, '-T', 'fields', ...words)).toMatch(
    /^igb@0000:01:00\.0\t1795884490\.778300000\t61\t.*2\nport two\t1795884490\.779800000\t1514\t.*1\n$/,
  );
  expect(run('capinfos', '-c', path)).toMatch(/2$/m);
  truncateSync(path, readFileSync(path).length - 1); // A canary: this one it must not read.
  expect(() => run('capinfos', '-c', path)).toThrow();
});

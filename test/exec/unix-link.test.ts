/** Wires between runs: sockets in a folder. */
import { mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { UnixLink } from '../../src/exec/machine/unix-link.js';
import { allocateNative } from '../../src/mm/process/libc.js';

let folder: string;
let links: UnixLink[] = [];
let nowUs = 0;
const buffer = allocateNative(4096);

beforeEach(() => {
  folder = join(mkdtempSync(join(tmpdir(), 'test-unix-link-')), 'wire');
});
afterEach(() => {
  for (const link of links) link.close();
  links = [];
  rmSync(join(folder, '..'), { recursive: true, force: true });
});

function joinWire(): UnixLink {
  const link = new UnixLink(folder);
  links.push(link);
  return link;
}

/** Each end looks around, and sends what has waited. */
function look(): void {
  nowUs += 50_000;
  for (const link of links) link.deliver(nowUs);
}

function send(link: UnixLink, first: number, length = 60): void {
  buffer.bytes.fill(first, 0, length);
  link.send(buffer, 0, length);
}

/** First bytes of the frames that have come. */
function received(link: UnixLink): number[] {
  const found: number[] = [];
  while (link.receive(buffer, 2048, 1514) > 0) found.push(buffer.bytes[2048]!);
  return found;
}

describe('a wire in a folder', () => {
  test('is made for its user alone, and a frame goes to every other end', () => {
    const [one, two, three] = [joinWire(), joinWire(), joinWire()];
    expect(statSync(folder).mode & 0o777).toBe(0o700);
    look();
    send(one, 1);
    send(two, 2);
    expect([received(one), received(two), received(three)]).toEqual([[2], [1], [1, 2]]);
  });

  test('has room for many frames of an end that does not look, in order', () => {
    const [one, two] = [joinWire(), joinWire()];
    look();
    const all = Array.from({ length: 200 }, (_, frame) => frame);
    for (const frame of all) send(one, frame);
    const came: number[] = [];
    for (let round = 0; round < 100; round++) {
      came.push(...received(two));
      one.deliver(nowUs);
    }
    expect(came).toEqual(all);
  });

  test('is left by an end that closes, with its socket; another may come later', () => {
    const one = joinWire();
    new UnixLink(folder).close();
    look();
    send(one, 1);
    expect(readdirSync(folder)).toHaveLength(1);
    const two = joinWire();
    look();
    send(one, 2);
    expect(received(two)).toEqual([2]);
  });

  test('forgets an end that was killed: its socket goes with the first frame that nobody takes', () => {
    const one = joinWire();
    const dead = new UnixLink(folder);
    look();
    const left = readdirSync(folder);
    (dead as unknown as { name: string }).name = 'another'; // So that its socket stays.
    dead.close();
    expect(readdirSync(folder)).toEqual(left);
    send(one, 1);
    expect(readdirSync(folder)).toHaveLength(1);
    send(one, 2);
  });

  test('takes no datagram that is too short for a frame', () => {
    const [one, two] = [joinWire(), joinWire()];
    look();
    send(one, 1, 13);
    send(one, 2, 14);
    expect([received(two), received(two)]).toEqual([[], [2]]);
  });
});

test('a folder that cannot be is named', () => {
  expect(() => new UnixLink(`/${'long/'.repeat(30)}`)).toThrow(/path is too long/);
  const file = join(folder, '..', 'file');
  writeFileSync(file, '');
  expect(() => new UnixLink(file)).toThrow(/cannot make the folder: EEXIST/);
  // Node's own mkdir with `recursive` never comes back from this.
  expect(() => new UnixLink('/proc/wire/left')).toThrow(/cannot make the folder: ENOENT/);
});

test('a folder is made with those above it', () => {
  const deep = join(folder, '..', 'one', 'two');
  new UnixLink(deep).close();
  new UnixLink(deep).close();
  expect(statSync(deep).mode & 0o777).toBe(0o700);
});

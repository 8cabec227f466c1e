/** `iopf serve` as a process of its own: how it begins and ends, and one client after the other. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createConnection, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { writeVersion } from '../../src/vfio-user/capabilities.js';
import { writeHeader } from '../../src/vfio-user/header.js';
import { Command } from '../../src/vfio-user/protocol.js';
import { HEADER_BYTES } from '../../src/vfio-user/structs.js';
import { iopf } from './run-iopf.js';

const IOVA = 0x10000;

let folder: string;
let path: string;
let json: string;
let child: ChildProcess;
let stderr: string;
let ended: Promise<number | null>;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'test-serve-'));
  path = join(folder, 'socket');
  json = join(folder, 'summary.json');
});
afterEach(() => {
  child?.kill('SIGKILL');
  rmSync(folder, { recursive: true, force: true });
});

/** Starts a server and waits until it listens. */
async function serve(...options: readonly string[]): Promise<void> {
  const words = [iopf, 'serve', 'edu', '--socket-path', path, '--json', json, ...options];
  child = spawn(process.execPath, words, { stdio: ['ignore', 'ignore', 'pipe'] });
  stderr = '';
  ended = new Promise((done) => child.on('close', done));
  await new Promise<void>((listens) => {
    child.stderr!.on('data', (text) => {
      stderr += text;
      if (stderr.includes('serving')) listens();
    });
    void ended.then(() => listens());
  });
}

const message = (id: number, command: number, body: Uint8Array): Uint8Array => {
  const bytes = new Uint8Array(HEADER_BYTES + body.length);
  writeHeader(new DataView(bytes.buffer), { id, command, flags: 0, error: 0 }, body.length);
  bytes.set(body, HEADER_BYTES);
  return bytes;
};

/** Connects and agrees on a version: the reply is there. */
async function client(): Promise<Socket> {
  const socket = createConnection(path);
  socket.on('error', () => undefined);
  socket.write(message(1, Command.VERSION, writeVersion(2, {})));
  await new Promise((replied) => socket.once('data', replied));
  return socket;
}

const summary = () => JSON.parse(readFileSync(json, 'utf8')) as Record<string, unknown>;

describe('iopf serve', () => {
  it('takes one client after the other, however they leave, and ends on SIGTERM', async () => {
    await serve();
    const first = await client();
    first.write(message(2, Command.DMA_MAP, new Uint8Array(32)).subarray(0, 20));
    first.destroy();
    const second = await client();
    const other = createConnection(path);
    second.end();
    other.write(message(1, Command.VERSION, writeVersion(2, {})));
    await new Promise((replied) => other.once('data', replied));
    child.kill('SIGTERM');
    expect(await ended).toBe(0);
    expect(summary()).toMatchObject({ schema: 'iopf.serve/1', kind: 'edu', clients: 3 });
    expect([existsSync(path), stderr.includes('served edu')]).toEqual([false, true]);
    other.destroy();
  });

  it('ends on SIGTERM while its client owes it memory, and blames nobody', async () => {
    await serve();
    const socket = await client();
    const words = (...values: readonly number[]): Uint8Array =>
      new Uint8Array(new BigUint64Array(values.map(BigInt)).buffer);
    // DMA_MAP: 32 bytes, read and write; then bus mastering, and edu's DMA engine.
    socket.write(message(2, Command.DMA_MAP, words(32 + 3 * 2 ** 32, 0, IOVA, 4096)));
    socket.write(message(3, Command.REGION_WRITE, words(4, 7 + 2 * 2 ** 32, 6).subarray(0, 18)));
    for (const [register, value] of [
      [0x80, IOVA],
      [0x88, 0x40000],
      [0x90, 8],
      [0x98, 1],
    ] as const)
      socket.write(message(4, Command.REGION_WRITE, words(register, 8 * 2 ** 32, value)));
    let came = Buffer.alloc(0);
    const last = (): number => {
      let at = 0;
      while (at + came.readUInt32LE(at + 4) < came.length) at += came.readUInt32LE(at + 4);
      return came.readUInt16LE(at + 2);
    };
    await new Promise<void>((isAsked) => {
      socket.on('data', (piece) => {
        came = Buffer.concat([came, piece]);
        if (last() === Command.DMA_READ) isAsked();
      });
    });
    child.kill('SIGTERM');
    expect(await ended).toBe(0);
    expect(stderr).not.toContain('given up');
    socket.destroy();
  });

  it('ends with its first client under --once', async () => {
    await serve('--once');
    (await client()).end();
    expect(await ended).toBe(0);
    expect(summary()).toMatchObject({ clients: 1, requests: 1 });
  });

  it('replaces a socket that nobody listens at, and no other', async () => {
    await serve();
    child.kill('SIGKILL');
    await ended;
    expect(existsSync(path)).toBe(true);
    await serve('--once');
    (await client()).end();
    expect(await ended).toBe(0);
    const listening = createServer().listen(path);
    await new Promise((listens) => listening.once('listening', listens));
    await serve();
    expect([await ended, stderr]).toEqual([
      2,
      `iopf: --socket-path ${path}: somebody listens there already\n`,
    ]);
    listening.close();
  });

  it('takes its client from a descriptor', async () => {
    const listening = createServer().listen(path);
    await new Promise((listens) => listening.once('listening', listens));
    const accepted = new Promise<Socket>((done) => listening.once('connection', done));
    const socket = createConnection(path);
    const given = await accepted;
    given.pause();
    child = spawn(process.execPath, [iopf, 'serve', 'edu', '--fd', '3', '--quiet'], {
      stdio: ['ignore', 'ignore', 'ignore', given],
    });
    ended = new Promise((done) => child.on('close', done));
    given.destroy();
    socket.write(message(1, Command.VERSION, writeVersion(2, {})));
    const reply = await new Promise<Buffer>((done) => socket.once('data', done));
    expect(reply.readUInt16LE(2)).toBe(Command.VERSION);
    socket.end();
    expect(await ended).toBe(0);
    listening.close();
  });

  it('says what it can do, and what is wrong with its options, one line each', () => {
    const run = (...words: string[]) => {
      const {
        status,
        stderr: said,
        stdout,
      } = spawnSync(process.execPath, [iopf, 'serve', ...words], {
        encoding: 'utf8',
      });
      return [status, stdout, said];
    };
    expect(run('edu', '--print-capabilities')).toEqual([
      0,
      '{"type":"vfio-user","features":[]}\n',
      '',
    ]);
    expect(run('edu')).toEqual([
      2,
      '',
      'iopf: iopf serve needs --socket-path PATH, or --fd NUMBER\n',
    ]);
    expect(run('edu', '--fd', '77')).toEqual([
      2,
      '',
      'iopf: --fd 77: no such descriptor is open\n',
    ]);
  });
});

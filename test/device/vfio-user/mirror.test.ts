/**
 * Recorded exchanges, mirrored: a server that only replays what libvfio-user answered stands before
 * the client (test/vectors-vfio-user).
 */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { Errno, type ErrnoName } from '../../../src/abi/errno.js';
import { Client } from '../../../src/device/vfio-user/client.js';
import { readRegion } from '../../../src/device/vfio-user/region.js';
import { readVersion } from '../../../src/vfio-user/capabilities.js';
import { BODY_BYTES, Command, MessageFlag } from '../../../src/vfio-user/protocol.js';
import { hex } from '../program.js';
import { u32, u64 } from './fake-device.js';
import { FakeHost, type Message } from './fake-server.js';

type Payload = string | { readonly head: string; readonly zero_tail: number };

interface Recorded {
  readonly id: number | string;
  readonly cmd: number;
  readonly payload: Payload;
  readonly flags?: number;
  readonly error?: string | number;
  readonly sock?: string;
  readonly raw?: string;
  readonly size?: number;
  readonly bytes_on_wire?: number;
  readonly fds?: readonly unknown[];
}

interface Step {
  readonly send?: Recorded;
  readonly expect?: Recorded | readonly Recorded[] | null;
  readonly server_sends?: readonly Recorded[] | Recorded;
  readonly answer?: Recorded;
  readonly server_closed?: boolean;
}

interface Vector {
  readonly name: string;
  /** A name in servers.jsonl, or itself. */
  readonly server: string | Server;
  readonly steps: readonly Step[];
}

interface Area {
  readonly offset: number;
  readonly size: number;
}

interface ServerRegion {
  readonly index: number;
  readonly size: number;
  readonly mmap_areas: readonly [number, number][] | null;
  readonly fd: { readonly size: number } | null;
  readonly offset: number;
}

interface Server {
  readonly regions?: readonly ServerRegion[];
}

const folder = new URL('../../vectors-vfio-user/', import.meta.url);
const lines = (name: string): Vector[] =>
  readFileSync(new URL(name, folder), 'utf8')
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Vector);
const vectors = [...lines('probe.jsonl'), ...lines('suite.jsonl')];
const { servers } = JSON.parse(readFileSync(new URL('servers.jsonl', folder), 'utf8')) as {
  servers: Record<string, Server>;
};

const bytesOf = (payload: Payload): Uint8Array =>
  typeof payload === 'string'
    ? Buffer.from(payload, 'hex')
    : Buffer.concat([Buffer.from(payload.head, 'hex'), Buffer.alloc(payload.zero_tail)]);
const errorOf = ({ error, flags = 0 }: Recorded): number => {
  if ((flags & MessageFlag.ERROR) === 0) return 0;
  const number = typeof error === 'string' ? Errno[error as ErrnoName] : error;
  return number ?? Errno.EIO;
};
const message = (recorded: Recorded, id: number): Message => ({
  ...{ id, command: recorded.cmd, flags: recorded.flags ?? 0, error: errorOf(recorded) },
  ...{ body: bytesOf(recorded.payload), descriptors: [], fault: 'none' },
});

/** A request that a client of sound mind makes, and the one reply to it. */
const isSound = ({ send, expect: answer }: Step): boolean =>
  send !== undefined &&
  [send.raw, send.size, send.bytes_on_wire, send.flags].every((odd) => odd === undefined) &&
  (send.sock ?? 'main') === 'main' &&
  answer != null &&
  !Array.isArray(answer) &&
  bytesOf((answer as Recorded).payload).length <= BODY_BYTES &&
  (answer as Recorded).cmd === send.cmd;

/** What the client has to say to what the server asks. */
class Replay {
  readonly said: Message[] = [];
  private next: Message | null = null;
  readonly host = new FakeHost((sent) => {
    if ((sent.flags & 1) !== 0) {
      this.said.push(sent);
      return [];
    }
    const { next } = this;
    this.next = null;
    return next === null ? [] : [{ ...next, id: sent.id }];
  });
  private readonly main = this.host.connect();
  readonly client = new Client(this.host, this.main, 1000);

  constructor() {
    this.client.watch();
  }

  /** The client makes a recorded request and gets the recorded reply; what it makes of that. */
  request(send: Recorded, answer: Recorded): { error: number; body: string } {
    this.next = message(answer, 0);
    const error = this.client.request(send.cmd, bytesOf(send.payload));
    return { error, body: hex(this.client.reply) };
  }

  /** The server asks, and memory has what the recorded client answered. */
  ask(asked: Recorded, data: Uint8Array): Message {
    this.client.memory = {
      read: (_address, length, buffer, offset) => {
        buffer.bytes.set(data.subarray(0, length), offset);
        return 0;
      },
      write: () => 0,
    };
    this.main.queue.push(message(asked, 77));
    this.host.notice();
    return this.said.pop()!;
  }
}

describe('recorded exchanges, mirrored', () => {
  it('every reply is taken for what it is: its errno, its body, also where it has both', () => {
    let count = 0;
    let withBody = 0;
    for (const { name, steps } of vectors) {
      const replay = new Replay();
      for (const step of steps.filter(isSound)) {
        const answer = step.expect as Recorded;
        const expected = { error: errorOf(answer), body: hex(bytesOf(answer.payload)) };
        expect(replay.request(step.send!, answer), name).toEqual(expected);
        expect(replay.client.death, name).toBeNull();
        count++;
        if (expected.error !== 0 && expected.body !== '') withBody++;
      }
    }
    expect(count).toBeGreaterThan(1300);
    expect(withBody).toBeGreaterThan(40);
  });

  it('what a server asks is answered with the bytes that libvfio-user takes', () => {
    let count = 0;
    for (const { name, steps } of vectors) {
      const replay = new Replay();
      let asked: Recorded | null = null;
      for (const { answer, server_sends: sends } of steps) {
        // A recorded answer that the server took for a good one.
        if (asked !== null && answer !== undefined && isGood(asked, answer)) {
          const body = bytesOf(answer.payload);
          const said = replay.ask(asked, body.subarray(16));
          expect([said.id, said.command, said.flags, hex(said.body)], name).toEqual([
            ...[77, asked.cmd, answer.flags],
            hex(asked.cmd === Command.DMA_READ ? body : body.subarray(0, 16)),
          ]);
          count++;
        }
        asked = [sends ?? []].flat()[0] ?? null;
      }
    }
    expect(count).toBeGreaterThan(5);
  });

  it('regions are read as the server has them, of a full answer and of one that is cut', () => {
    let count = 0;
    for (const { name, server, steps } of vectors)
      for (const step of steps.filter(isSound)) {
        const answer = step.expect as Recorded;
        const body = bytesOf(answer.payload);
        if (answer.cmd !== Command.DEVICE_GET_REGION_INFO || errorOf(answer) !== 0) continue;
        const needed = u32(body, 0);
        const index = u32(body, 8);
        const { regions } = typeof server === 'string' ? servers[server]! : server;
        // It was set up several times in some; one of those is answered for.
        const region = regions?.find((each) => each.index === index && each.size === u64(body, 16));
        if (region === undefined || body.length < needed) continue;
        expect(regionBy(body, region), name).toEqual({
          size: region.size,
          areas: areasOf(region),
        });
        count++;
      }
    expect(count).toBeGreaterThan(15);
  });

  it('versions are read, but for those that nobody could', () => {
    let count = 0;
    for (const { steps } of vectors)
      for (const { expect: answer } of steps) {
        if (answer == null || Array.isArray(answer)) continue;
        const reply = answer as Recorded;
        if (reply.cmd !== Command.VERSION || errorOf(reply) !== 0) continue;
        const { capabilities, major } = readVersion(bytesOf(reply.payload));
        expect([major, capabilities.maxMessageDescriptors]).toEqual([0, 8]);
        count++;
      }
    expect(count).toBeGreaterThan(50);
  });
});

/** A reply of type 1, without an error, with the address and count that were asked for. */
function isGood(asked: Recorded, answer: Recorded): boolean {
  const [question, body] = [bytesOf(asked.payload), bytesOf(answer.payload)];
  const length = asked.cmd === Command.DMA_READ ? 16 + u32(question, 8) : 16;
  return (
    answer.id === 'same as server' &&
    answer.flags === 1 &&
    body.length === length &&
    hex(body.subarray(0, 16)) === hex(question.subarray(0, 16))
  );
}

function areasOf({ fd, mmap_areas: areas, size }: ServerRegion): Area[] {
  if (fd === null) return [];
  return (areas ?? [[0, size]]).map(([offset, bytes]) => ({ offset, size: bytes }));
}

/** What the client makes of a region whose whole answer this is, which is cut to what is asked. */
function regionBy(body: Uint8Array, { fd }: ServerRegion): { size: number; areas: Area[] } {
  const host: FakeHost = new FakeHost((sent) => {
    const argsz = u32(sent.body, 0);
    const isWhole = argsz >= body.length;
    const descriptors = isWhole && fd !== null ? [40] : [];
    const cut = Uint8Array.from(body.subarray(0, argsz));
    if (!isWhole) cut[4]! &= ~8; // the list does not fit
    return [{ ...sent, flags: 1, body: cut, descriptors }];
  });
  if (fd !== null) host.files.set(40, fd.size);
  const client = new Client(host, host.connect(), 1000);
  const region = readRegion(client, host, u32(body, 8), (reason) => {
    throw new Error(reason);
  });
  return { size: region!.size, areas: [...region!.areas] };
}

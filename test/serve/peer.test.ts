import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Errno } from '../../src/abi/errno.js';
import { makeSocketPair } from '../../src/exec/run/descriptor-message.js';
import { MessageSocket } from '../../src/exec/vfio-user/message-socket.js';
import { allocatePlain } from '../../src/mm/frame-memory.js';
import type { Stretch } from '../../src/serve/foreign-space.js';
import { Peer } from '../../src/serve/peer.js';
import { Command, MessageFlag, TYPE_REPLY } from '../../src/vfio-user/protocol.js';

const PAGE = 4096;
const buffer = allocatePlain(64 * PAGE);
/** Page `n` of a client's memory is full of `n`. */
const pages = (...numbers: readonly number[]): Stretch[] =>
  numbers.map((page, index) => ({
    address: page * PAGE,
    length: PAGE,
    buffer,
    offset: index * PAGE,
  }));
const range = (count: number): number[] => [...Array(count).keys()];

interface Question {
  readonly id: number;
  readonly command: number;
  readonly access: Uint8Array;
  readonly page: number;
  readonly count: number;
}

let server: MessageSocket;
let client: MessageSocket;
/** How many questions came together, each time. */
let rounds: number[];
/** Answers what has come. */
let answerAll: (questions: Question[]) => void;

beforeEach(() => {
  const [one, other] = makeSocketPair();
  server = new MessageSocket(one);
  client = new MessageSocket(other);
  rounds = [];
  buffer.bytes.fill(0xee);
  answerAll = (questions) => {
    for (const question of questions) answer(question);
  };
});
afterEach(() => {
  server.close();
  client.close();
});

function peer(transferBytes = 2 ** 16): Peer {
  return new Peer({
    socket: server,
    transferBytes,
    waiting: { readable: look, writable: look },
    begin: () => {},
    putAside: () => false,
  });
}

/** The server waits: the client's turn. */
function look(): boolean {
  const questions: Question[] = [];
  while (client.receive() === 'message') {
    const { body, head } = client;
    const view = new DataView(body.buffer, body.byteOffset, body.length);
    questions.push({
      id: head.id,
      command: head.command,
      access: body.slice(0, 16),
      page: Number(view.getBigUint64(0, true)) / PAGE,
      count: Number(view.getBigUint64(8, true)),
    });
  }
  rounds.push(questions.length);
  answerAll(questions);
  return questions.length > 0;
}

function answer({ access, command, count, id, page }: Question, error = 0): void {
  const flags = TYPE_REPLY | (error === 0 ? 0 : MessageFlag.ERROR);
  const data = error === 0 && command === Command.DMA_READ ? count : 0;
  client.outgoing.bytes.set(access);
  client.outgoing.bytes.fill(page, 16, 16 + data);
  client.send({ id, command, flags, error }, error === 0 ? 16 + data : 0, [], () => false);
}

describe('what a server asks of its client', () => {
  it('is asked together, 64 KiB at a time, and answered in any order', () => {
    answerAll = (questions) => {
      for (const question of questions.reverse()) answer(question);
    };
    expect(peer().move(false, pages(...range(20)))).toBe(20 * PAGE);
    expect(rounds).toEqual([16, 4]);
    expect(range(20).map((page) => buffer.bytes[page * PAGE + 7])).toEqual(range(20));
  });

  it('is cut at what the client takes in a message', () => {
    const asked = peer(1024);
    expect(asked.move(true, pages(1, 2))).toBe(2 * PAGE);
    expect([asked.messages, rounds]).toEqual([8, [8]]);
  });

  it('moves up to what the client refuses, and no round after that', () => {
    answerAll = (questions) => {
      for (const question of questions) answer(question, question.page === 2 ? Errno.EFAULT : 0);
    };
    const asked = peer();
    expect(asked.move(true, pages(...range(20)))).toBe(2 * PAGE);
    expect([rounds, asked.broken]).toEqual([[16], null]);
    expect(asked.move(true, pages(3))).toBe(PAGE);
  });

  it.each([
    ['twice', (one: Question) => [one, one]],
    ['to another question', (one: Question) => [{ ...one, id: one.id + 9 }]],
    ['to another command', (one: Question) => [{ ...one, command: Command.DMA_WRITE }]],
  ])('a client that answers %s is given up', (_how, answers) => {
    answerAll = ([first, ...others]) => {
      for (const question of [...answers(first!), ...others]) answer(question);
    };
    const asked = peer();
    expect(asked.move(false, pages(0, 1, 2))).toBeLessThan(3 * PAGE);
    expect(asked.broken).toBe('answered what it was not asked');
    expect(asked.move(false, pages(0))).toBe(0);
  });
});

import { fstatSync, readSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { makeSocketPair } from '../../src/exec/run/descriptor-message.js';
import { MessageSocket } from '../../src/exec/vfio-user/message-socket.js';
import { allocateNative, close, eventfd, write } from '../../src/mm/process/libc.js';
import { BODY_BYTES, Command } from '../../src/vfio-user/protocol.js';

const head = { id: 7, command: Command.DMA_MAP, flags: 0, error: 0 };
const never = (): boolean => false;

let ours: MessageSocket;
let theirs: MessageSocket;

beforeEach(() => {
  const [one, other] = makeSocketPair();
  ours = new MessageSocket(one);
  theirs = new MessageSocket(other);
});
afterEach(() => {
  ours.close();
  theirs.close();
});

const isOpen = (fd: number): boolean => {
  try {
    return fstatSync(fd).size >= 0;
  } catch {
    return false;
  }
};

describe('a socket of vfio-user messages', () => {
  it('carries bodies and descriptors, each with its own message', () => {
    const fds = [eventfd(0, 0), eventfd(0, 0)];
    ours.outgoing.bytes.set([1, 2, 3]);
    expect(ours.send(head, 3, [], never)).toBe(true);
    expect(ours.send({ ...head, id: 8 }, 2, fds, never)).toBe(true);
    expect(ours.send({ ...head, id: 9 }, 0, [], never)).toBe(true);
    for (const fd of fds) close(fd);
    expect(theirs.receive()).toBe('message');
    expect([theirs.head.id, [...theirs.body], theirs.descriptors]).toEqual([7, [1, 2, 3], []]);
    expect(theirs.receive()).toBe('message');
    expect([theirs.head.id, [...theirs.body], theirs.descriptors.length]).toEqual([8, [1, 2], 2]);
    const kept = theirs.descriptors.shift()!;
    const left = theirs.descriptors[0]!;
    expect(theirs.receive()).toBe('message');
    expect([theirs.head.id, theirs.descriptors, isOpen(kept), isOpen(left)]).toEqual([
      9,
      [],
      true,
      false,
    ]);
    expect(theirs.receive()).toBe('waiting');
    close(kept);
  });

  it('sends more than a socket holds where somebody reads meanwhile', () => {
    let waited = 0;
    ours.outgoing.bytes[BODY_BYTES - 1] = 77;
    const sent = ours.send(head, BODY_BYTES, [], () => {
      waited++;
      return theirs.receive() !== 'closed';
    });
    expect([sent, waited > 0, theirs.receive()]).toEqual([true, true, 'message']);
    expect([theirs.body.length, theirs.body[BODY_BYTES - 1]]).toEqual([BODY_BYTES, 77]);
  });

  it('gives up sending when told to', () => {
    expect(ours.send(head, BODY_BYTES, [], never)).toBe(false);
  });

  it('ends, and does not reset, what it has not read to the end', () => {
    const [one, other] = makeSocketPair();
    const some = allocateNative(4096);
    write(other, some.address, 4096);
    new MessageSocket(one).close();
    expect(readSync(other, Buffer.alloc(1))).toBe(0);
    close(other);
  });

  it('tells of a peer that is gone, in the middle of a message too', () => {
    const some = allocateNative(4096);
    some.bytes.fill(1);
    const [one, other] = makeSocketPair();
    const reader = new MessageSocket(one);
    write(other, some.address, 5);
    expect(reader.receive()).toBe('waiting');
    close(other);
    expect(reader.receive()).toBe('closed');
    expect(reader.send(head, 0, [], never)).toBe(false);
    reader.close();
  });
});

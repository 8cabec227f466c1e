import { afterEach, describe, expect, it, vi } from 'vitest';
import { MessageSocket } from '../../src/exec/vfio-user/message-socket.js';
import { dup } from '../../src/mm/process/libc.js';
import { DirtyLogging } from '../../src/serve/dirty-logging.js';
import { DmaRegions } from '../../src/serve/dma-regions.js';
import { MessageReader } from '../../src/vfio-user/message-reader.js';
import { TYPE_REPLY } from '../../src/vfio-user/protocol.js';
import { makeDevice } from './client.js';
import { Storm } from './fuzz.js';

const CLIENTS = 60;

async function complaints(clients: number): Promise<string[]> {
  const { device, counters } = await makeDevice('edu');
  for (let seed = 1; seed <= clients; seed++) {
    const found = new Storm(device, counters, seed).complaints;
    if (found.length > 0) return found.map((each) => `client ${seed}: ${each}`);
  }
  return [];
}

afterEach(() => vi.restoreAllMocks());

describe('a server of hostile clients', () => {
  it('answers each message once, in step, with nothing of its own, and leaves nothing', async () => {
    expect(await complaints(CLIENTS)).toEqual([]);
  });
});

describe('the fuzzer finds a server that', () => {
  it('reads the body of a message above the limit as headers', async () => {
    vi.spyOn(MessageReader.prototype, 'next').mockImplementation(function (this: MessageReader) {
      const reader = this as unknown as { left: number; hasHeader: boolean };
      Object.assign(reader, { left: 0, hasHeader: false, fault: 'none', isDropping: false });
      Object.assign(this, { at: 0, wanted: 16 });
    });
    expect((await complaints(CLIENTS)).join()).toMatch(/not open|did not answer/);
  });

  it('sends a bitmap that it has not cleared', async () => {
    const { report } = DirtyLogging.prototype;
    vi.spyOn(DirtyLogging.prototype, 'report').mockImplementation(function (
      this: DirtyLogging,
      ...[first, pages, pageBytes, into]
    ) {
      report.call(this, first, pages, pageBytes, into);
      into.fill(0xa5);
    });
    expect((await complaints(CLIENTS)).join()).toMatch('sent its own memory');
  });

  it('keeps a descriptor', async () => {
    const { map } = DmaRegions.prototype;
    vi.spyOn(DmaRegions.prototype, 'map').mockImplementation(function (this: DmaRegions, request) {
      if (request.descriptors.length > 0) dup(request.descriptors[0]!);
      map.call(this, request);
    });
    expect((await complaints(CLIENTS)).join()).toMatch('descriptors open');
  });

  it('keeps what a client had mapped', async () => {
    vi.spyOn(DmaRegions.prototype, 'unmapAll').mockImplementation(() => undefined);
    expect((await complaints(CLIENTS)).join()).toMatch('left mappedPages');
  });

  it('answers twice', async () => {
    const { send } = MessageSocket.prototype;
    vi.spyOn(MessageSocket.prototype, 'send').mockImplementation(function (
      this: MessageSocket,
      ...[head, bytes, descriptors, wait, from]
    ) {
      const isReply = head.flags === TYPE_REPLY && head.id % 16 === 9;
      if (isReply) send.call(this, head, bytes, descriptors, wait, from);
      return send.call(this, head, bytes, descriptors, wait, from);
    });
    expect((await complaints(CLIENTS)).join()).toMatch('not open');
  });
});

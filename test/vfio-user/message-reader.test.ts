import { describe, expect, it } from 'vitest';
import { writeHeader } from '../../src/vfio-user/header.js';
import { MessageReader } from '../../src/vfio-user/message-reader.js';
import { Command } from '../../src/vfio-user/protocol.js';
import { HEADER_BYTES } from '../../src/vfio-user/structs.js';

const ROOM = 64;

function message(id: number, body: readonly number[], size = HEADER_BYTES + body.length): number[] {
  const bytes = new Uint8Array(HEADER_BYTES + body.length);
  const head = { id, command: Command.REGION_READ, flags: 0, error: 0 };
  writeHeader(new DataView(bytes.buffer), head, size - HEADER_BYTES);
  bytes.set(body, HEADER_BYTES);
  return [...bytes];
}

/** Feeds a stream, at most `cut` bytes at once; what comes out, a line each. */
function read(stream: readonly number[], cut: number): string[] {
  const bytes = new Uint8Array(ROOM);
  const reader = new MessageReader(bytes);
  const seen: string[] = [];
  for (let done = 0; done < stream.length; ) {
    const count = Math.min(cut, reader.wanted, stream.length - done);
    bytes.set(stream.slice(done, done + count), reader.at);
    done += count;
    if (!reader.received(count)) continue;
    const body = bytes.subarray(HEADER_BYTES, HEADER_BYTES + reader.bodyBytes);
    seen.push(`${reader.id} ${reader.fault} [${body}]`);
    reader.next();
  }
  if (reader.isInside) seen.push('inside');
  return seen;
}

const both = (stream: readonly number[]) => [1, 3, 16, 17, 1000].map((cut) => read(stream, cut));

describe('a stream of messages, however it is cut', () => {
  it('gives each message once, with its body', () => {
    const stream = [...message(1, [9, 8]), ...message(2, []), ...message(65535, [7])];
    for (const seen of both(stream))
      expect(seen).toEqual(['1 none [9,8]', '2 none []', '65535 none [7]']);
  });

  it('takes a body that just fits', () => {
    const body = Array(ROOM - HEADER_BYTES).fill(5);
    for (const seen of both(message(1, body))) expect(seen).toEqual([`1 none [${body}]`]);
  });

  it('drops a body that is too long, and is in step behind it', () => {
    for (const extra of [1, ROOM - HEADER_BYTES, 5 * ROOM]) {
      const stream = [
        ...message(1, Array(ROOM - HEADER_BYTES + extra).fill(5)),
        ...message(2, [6]),
      ];
      for (const seen of both(stream))
        expect(seen).toEqual(['1 size above the limit []', '2 none [6]']);
    }
  });

  it('takes a size below a header for a message without a body', () => {
    const stream = [...message(1, [], 15), ...message(2, [], 0), ...message(3, [1])];
    const lines = ['1 size below a header []', '2 size below a header []', '3 none [1]'];
    for (const seen of both(stream)) expect(seen).toEqual(lines);
  });

  it('knows that it is inside a message', () => {
    expect(read(message(1, [9, 8]).slice(0, 5), 100)).toEqual(['inside']);
    expect(read(message(1, [9, 8]).slice(0, 17), 100)).toEqual(['inside']);
  });
});

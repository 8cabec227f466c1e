/** REGION_READ and REGION_WRITE: each access is a round trip. */
import { ArgumentBuffer } from '../../abi/argument-buffer.js';
import { Command } from '../../vfio-user/protocol.js';
import { RegionAccess } from '../../vfio-user/structs.js';
import type { Client } from './client.js';

/** The most bytes of one access here: a config space. */
const ACCESS_MOST = 4096;

export class RegionPort {
  private readonly request = new ArgumentBuffer(RegionAccess.size + ACCESS_MOST);

  constructor(
    private readonly client: Client,
    /** Told of an access that the server refuses: what it was, its region, offset and errno. */
    private readonly refused: (what: string, index: number, offset: number, error: number) => void,
  ) {}

  /** Ones where the server is dead or refuses. At most 4096 bytes. */
  read(index: number, offset: number, into: Uint8Array): void {
    const { client } = this;
    const { length } = into;
    const error = client.request(Command.REGION_READ, this.begin(index, offset, length, 0));
    const expected = RegionAccess.size + length;
    if (error !== 0) {
      into.fill(0xff);
      if (!client.isDead) this.refused('a read', index, offset, error);
    } else if (client.reply.length !== expected) {
      const { length: got } = client.reply;
      client.die(`sent garbage: ${got} bytes of ${expected} as the reply to REGION_READ`);
      into.fill(0xff);
    } else into.set(client.reply.subarray(RegionAccess.size));
  }

  /** Returns 0, or an errno: the server is dead or refuses. At most 4096 bytes. */
  write(index: number, offset: number, from: Uint8Array): number {
    const { client } = this;
    const { length } = from;
    this.request.bytes.set(from, RegionAccess.size);
    const error = client.request(Command.REGION_WRITE, this.begin(index, offset, length, length));
    if (error !== 0 && !client.isDead) this.refused('a write', index, offset, error);
    return error;
  }

  private begin(index: number, offset: number, count: number, dataBytes: number): Uint8Array {
    const { request } = this;
    const { at, size } = RegionAccess;
    request.setU64(at.offset, offset);
    request.setU32(at.region, index);
    request.setU32(at.count, count);
    return request.bytes.subarray(0, size + dataBytes);
  }
}

import type { RegisterFile } from '../register-table.js';
import { ADDRESS_VALID, Rctl } from './bits.js';
import { ADDRESS_BYTES, MAC_BYTES, TAG_BYTES } from './packet.js';
import { ADDRESSES, Count, Reg } from './registers.js';
import { isBroadcast, type Statistics } from './statistics.js';

const CRC_BYTES = 4;
/** Without RCTL.LPE: a frame on the wire, and one more tag. */
const ORDINARY_MOST = 1518;
/** Where the address pairs behind the sixteenth lie. */
const HIGH_ADDRESSES = 0x54e0;
const LOW_COUNT = 16;
/** By RCTL.MO: the first of the twelve bits of an address that are its place in MTA. */
const MULTICAST_SHIFTS = [4, 3, 2, 0];

/** Which frames the card takes: by length, address and VLAN (7.1.1). */
export class Filters {
  constructor(
    private readonly registers: RegisterFile,
    private readonly statistics: Statistics,
  ) {}

  /** A frame of at least MAC_BYTES, without its checksum. */
  accepts(bytes: Uint8Array, offset: number, length: number): boolean {
    const { registers } = this;
    const rctl = registers.get(Reg.RCTL);
    const isTagged = length >= MAC_BYTES + TAG_BYTES && this.isTag(bytes, offset);
    const longest =
      (rctl & Rctl.LONG_PACKETS) !== 0
        ? registers.get(Reg.RLPML)
        : ORDINARY_MOST + (isTagged ? TAG_BYTES : 0);
    if (length + CRC_BYTES > longest) {
      this.statistics.add(Count.ROC);
      return false;
    }
    if (isTagged && (rctl & Rctl.VLAN_FILTER) !== 0 && !this.isMember(bytes, offset)) return false;
    return this.isAddressed(rctl, bytes, offset);
  }

  /** Whether the frame has a tag of the type in VET. */
  isTag(bytes: Uint8Array, offset: number): boolean {
    const at = offset + ADDRESS_BYTES;
    return ((bytes[at]! << 8) | bytes[at + 1]!) === (this.registers.get(Reg.VET) & 0xffff);
  }

  private isMember(bytes: Uint8Array, offset: number): boolean {
    const at = offset + MAC_BYTES;
    const vlan = ((bytes[at]! << 8) | bytes[at + 1]!) & 0xfff;
    return ((this.registers.get(Reg.VFTA + 4 * (vlan >>> 5)) >>> (vlan & 31)) & 1) !== 0;
  }

  private isAddressed(rctl: number, bytes: Uint8Array, offset: number): boolean {
    const isGroup = (bytes[offset]! & 1) !== 0;
    if ((rctl & (isGroup ? Rctl.MULTICAST_PROMISCUOUS : Rctl.UNICAST_PROMISCUOUS)) !== 0)
      return true;
    if (this.isListed(bytes, offset)) return true;
    if (!isGroup) return false;
    if (isBroadcast(bytes, offset)) return (rctl & Rctl.BROADCAST) !== 0;
    const shift = MULTICAST_SHIFTS[(rctl >>> Rctl.MULTICAST_OFFSET_SHIFT) & 3]!;
    const hash = ((bytes[offset + 4]! | (bytes[offset + 5]! << 8)) >>> shift) & 0xfff;
    return ((this.registers.get(Reg.MTA + 4 * (hash >>> 5)) >>> (hash & 31)) & 1) !== 0;
  }

  private isListed(bytes: Uint8Array, offset: number): boolean {
    const { registers } = this;
    for (let index = 0; index < ADDRESSES; index++) {
      const at = index < LOW_COUNT ? Reg.RAL + 8 * index : HIGH_ADDRESSES + 8 * (index - LOW_COUNT);
      const high = registers.get(at + 4);
      if ((high & ADDRESS_VALID) === 0) continue;
      const low = registers.get(at);
      if (
        bytes[offset + 5] === ((high >>> 8) & 0xff) &&
        bytes[offset + 4] === (high & 0xff) &&
        bytes[offset + 3] === low >>> 24 &&
        bytes[offset + 2] === ((low >>> 16) & 0xff) &&
        bytes[offset + 1] === ((low >>> 8) & 0xff) &&
        bytes[offset] === (low & 0xff)
      )
        return true;
    }
    return false;
  }
}

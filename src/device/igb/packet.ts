/** What the card sees in an Ethernet frame: its headers, as far as they lie within it. */

export const MAC_BYTES = 14;
/** Of the two addresses, behind which a VLAN tag is. */
export const ADDRESS_BYTES = 12;
export const TAG_BYTES = 4;
const IPV4 = 0x0800;
const IPV6 = 0x86dd;
const IPV4_LEAST = 20;
const IPV6_BYTES = 40;
const TCP_LEAST = 20;
const UDP_BYTES = 8;
export const Protocol = { TCP: 6, UDP: 17, SCTP: 132 } as const;
/** IPv6 extension headers that can lie before the transport header, but for the fragment header. */
const extensions: ReadonlySet<number> = new Set([0, 43, 60]);
const FRAGMENT = 44;
/** Extension headers that are looked behind. */
const EXTENSIONS_MOST = 8;

/** Reused for each frame. */
export class Packet {
  bytes: Uint8Array = new Uint8Array(0);
  offset = 0;
  length = 0;
  /** Version of IP: 4, 6, or 0 for none. */
  version = 0;
  /** Where the IP header begins, and the first byte behind what it says is the packet. */
  ip = 0;
  end = 0;
  /** Bytes of the IPv4 header, or of IPv6's with its extensions. */
  ipBytes = 0;
  /** The transport protocol, or -1: unknown, cut short, or in a fragment. */
  protocol = -1;
  isFragment = false;
  /** Where the transport header begins, and how long it is. */
  transport = 0;
  transportBytes = 0;

  /** Looks at a frame of `length` bytes at `offset`; a tag of type `vlanType` is passed over. */
  parse(bytes: Uint8Array, offset: number, length: number, vlanType: number): void {
    this.bytes = bytes;
    this.offset = offset;
    this.length = length;
    this.version = 0;
    this.protocol = -1;
    this.isFragment = false;
    this.transportBytes = 0;
    if (length < MAC_BYTES) return;
    const isTagged = length >= MAC_BYTES + TAG_BYTES && this.word(offset + 12) === vlanType;
    const type = offset + ADDRESS_BYTES + (isTagged ? TAG_BYTES : 0);
    this.ip = type + 2;
    const left = offset + length - this.ip;
    if (this.word(type) === IPV4 && left >= IPV4_LEAST) this.parseIpv4(left);
    else if (this.word(type) === IPV6 && left >= IPV6_BYTES) this.parseIpv6(left);
  }

  /** 16 bits in the network's order. */
  word(at: number): number {
    return (this.bytes[at]! << 8) | this.bytes[at + 1]!;
  }

  /** Behind the last header that is known: where a header buffer ends. */
  get headerBytes(): number {
    if (this.version === 0 || this.transportBytes === 0) return 0;
    return this.transport + this.transportBytes - this.offset;
  }

  /** Whether the IPv4 header adds up. */
  get isIpSumRight(): boolean {
    return sum(this.bytes, this.ip, this.ipBytes, 0) === 0xffff;
  }

  /** A UDP datagram may have no checksum. */
  get hasTransportSum(): boolean {
    return this.protocol !== Protocol.UDP || this.word(this.transport + 6) !== 0;
  }

  /** Whether TCP's or UDP's checksum is right. */
  get isTransportSumRight(): boolean {
    const { transport, protocol } = this;
    const length = this.end - transport;
    const isV4 = this.version === 4;
    const addresses = this.ip + (isV4 ? 12 : 8);
    const start = sum(this.bytes, addresses, isV4 ? 8 : 32, protocol + length);
    return sum(this.bytes, transport, length, start) === 0xffff;
  }

  private parseIpv4(left: number): void {
    const { bytes, ip } = this;
    const ipBytes = 4 * (bytes[ip]! & 0xf);
    const total = this.word(ip + 2);
    if (bytes[ip]! >>> 4 !== 4 || ipBytes < IPV4_LEAST || ipBytes > left) return;
    if (total < ipBytes || total > left) return;
    this.version = 4;
    this.ipBytes = ipBytes;
    this.end = ip + total;
    this.isFragment = (this.word(ip + 6) & 0x3fff) !== 0;
    if (!this.isFragment) this.parseTransport(bytes[ip + 9]!, ip + ipBytes);
  }

  private parseIpv6(left: number): void {
    const { bytes, ip } = this;
    const payload = this.word(ip + 4);
    if (bytes[ip]! >>> 4 !== 6 || IPV6_BYTES + payload > left) return;
    this.version = 6;
    this.end = ip + IPV6_BYTES + payload;
    let next = bytes[ip + 6]!;
    let at = ip + IPV6_BYTES;
    for (let count = 0; extensions.has(next) && count < EXTENSIONS_MOST; count++) {
      if (at + 8 > this.end) break;
      next = bytes[at]!;
      at += 8 * (bytes[at + 1]! + 1);
    }
    this.ipBytes = Math.min(at, this.end) - ip;
    this.isFragment = next === FRAGMENT;
    if (!this.isFragment && at <= this.end) this.parseTransport(next, at);
  }

  private parseTransport(protocol: number, at: number): void {
    const left = this.end - at;
    let bytes = 0;
    if (protocol === Protocol.TCP && left >= TCP_LEAST) {
      bytes = 4 * (this.bytes[at + 12]! >>> 4);
      if (bytes < TCP_LEAST || bytes > left) return;
    } else if (protocol === Protocol.UDP && left >= UDP_BYTES) bytes = UDP_BYTES;
    else if (protocol !== Protocol.SCTP) return;
    this.protocol = protocol;
    this.transport = at;
    this.transportBytes = bytes;
  }
}

/** The Internet's sum of `length` bytes, added to `start` and folded to 16 bits (RFC 1071). */
export function sum(bytes: Uint8Array, offset: number, length: number, start: number): number {
  let total = start;
  const even = offset + (length & ~1);
  for (let at = offset; at < even; at += 2) total += (bytes[at]! << 8) | bytes[at + 1]!;
  if (length % 2 === 1) total += bytes[even]! << 8;
  while (total > 0xffff) total = (total % 0x10000) + Math.floor(total / 0x10000);
  return total;
}

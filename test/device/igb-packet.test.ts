/** What the 82576 sees in a frame, and what a context descriptor says. */
import { describe, expect, test } from 'vitest';
import { TxContext } from '../../src/device/igb/offloads.js';
import { Packet, Protocol } from '../../src/device/igb/packet.js';

const VLAN = 0x8100;
const IPV4 = 0x0800;
const IPV6 = 0x86dd;
const AT = 32;

/** Ethernet's type and what is behind it, seen at an offset of a buffer. */
function parsed(type: number, body: readonly number[], tag = false): Packet {
  const frame = [
    ...new Array(12).fill(0xee),
    ...(tag ? [VLAN >> 8, 0, 0, 5] : []),
    ...[type >> 8, type & 0xff],
    ...body,
  ];
  const bytes = new Uint8Array(AT + frame.length + 64).fill(0xee);
  bytes.set(frame, AT);
  const packet = new Packet();
  packet.parse(bytes, AT, frame.length, VLAN);
  return packet;
}

/** An IPv4 packet; `trailing`: bytes behind it in the frame. */
const ipv4 = (protocol: number, body: readonly number[], trailing = 0, fragment = 0): number[] => [
  ...[0x45, 0, 0, 20 + body.length, 0, 0, fragment >> 8, fragment & 0xff, 64, protocol, 0, 0],
  ...[10, 0, 0, 1, 10, 0, 0, 2],
  ...body,
  ...new Array(trailing).fill(0),
];
const ipv6 = (next: number, body: readonly number[], trailing = 0): number[] => [
  ...[0x60, 0, 0, 0, 0, body.length, next, 64, ...new Array(32).fill(1)],
  ...body,
  ...new Array(trailing).fill(0),
];
const udp = [0, 53, 0, 53, 0, 8, 0, 0];
const tcp = [...new Array(12).fill(0), 0x50, ...new Array(7).fill(0)];
const sctp = new Array(12).fill(1);

describe('the headers of a frame', () => {
  test.each<[string, number, readonly number[], number, number]>([
    ['TCP', Protocol.TCP, tcp, Protocol.TCP, 20],
    ['UDP', Protocol.UDP, udp, Protocol.UDP, 8],
    ['SCTP', Protocol.SCTP, sctp, Protocol.SCTP, 0],
    ['ICMP', 1, udp, -1, 0],
    ['TCP that is cut short', Protocol.TCP, tcp.slice(1), -1, 0],
    ['UDP that is cut short', Protocol.UDP, udp.slice(1), -1, 0],
    [
      'TCP whose header is too long',
      Protocol.TCP,
      [...tcp.slice(0, 12), 0x60, ...tcp.slice(13)],
      -1,
      0,
    ],
    [
      'TCP whose header is too short',
      Protocol.TCP,
      [...tcp.slice(0, 12), 0x40, ...tcp.slice(13)],
      -1,
      0,
    ],
  ])('%s, in both versions of IP, with a tag and without', (_, number, body, protocol, bytes) => {
    for (const tag of [false, true])
      for (const trailing of [0, 7]) {
        const start = AT + 14 + (tag ? 4 : 0);
        const four = parsed(IPV4, ipv4(number, body, trailing), tag);
        const six = parsed(IPV6, ipv6(number, body, trailing), tag);
        expect([four.version, four.ip, four.ipBytes]).toEqual([4, start, 20]);
        expect([six.version, six.ip, six.ipBytes]).toEqual([6, start, 40]);
        expect([four.end, six.end]).toEqual([start + 20 + body.length, start + 40 + body.length]);
        for (const packet of [four, six]) {
          expect([packet.protocol, packet.transportBytes]).toEqual([protocol, bytes]);
          const header = packet.ip - AT + packet.ipBytes + bytes;
          expect(packet.headerBytes).toBe(bytes === 0 ? 0 : header);
        }
      }
  });

  test('of IPv6 may have extensions before the transport’s', () => {
    const hop = (next: number): number[] => [next, 0, 0, 0, 0, 0, 0, 0];
    const packet = parsed(IPV6, ipv6(0, [...hop(60), 17, 1, ...new Array(14).fill(0), ...udp]));
    expect([packet.protocol, packet.ipBytes]).toEqual([Protocol.UDP, 64]);
    const cut = parsed(IPV6, ipv6(0, hop(17).slice(1)));
    expect([cut.protocol, cut.ipBytes]).toEqual([-1, 40]);
    const far = parsed(IPV6, ipv6(0, [17, 9, 0, 0, 0, 0, 0, 0]));
    expect([far.protocol, far.ipBytes]).toEqual([-1, 48]);
  });

  test('of a fragment end with IP', () => {
    for (const fragment of [0x2000, 1, 0x1fff]) {
      const packet = parsed(IPV4, ipv4(Protocol.UDP, udp, 0, fragment));
      expect([packet.isFragment, packet.protocol]).toEqual([true, -1]);
    }
    expect(parsed(IPV4, ipv4(Protocol.UDP, udp, 0, 0x4000)).isFragment).toBe(false);
    const six = parsed(IPV6, ipv6(44, udp));
    expect([six.isFragment, six.protocol]).toEqual([true, -1]);
  });

  test('that do not fit the frame are none', () => {
    const four = ipv4(Protocol.UDP, udp);
    const short = [...four];
    short[3] = 19;
    const long = [...four];
    long[3] = 29;
    const options = [...four];
    options[0] = 0x48;
    const other = [...four];
    other[0] = 0x55;
    for (const body of [short, long, options, other, four.slice(0, 19), []])
      expect(parsed(IPV4, body).version).toBe(0);
    const six = ipv6(Protocol.UDP, udp);
    for (const body of [six.slice(0, -1), six.slice(0, 39), [0x50, ...six.slice(1)]])
      expect(parsed(IPV6, body).version).toBe(0);
    expect(parsed(0x0806, four).version).toBe(0);
    // A header alone does fit.
    expect(parsed(IPV4, ipv4(1, [])).version).toBe(4);
    expect(parsed(IPV6, ipv6(59, [])).version).toBe(6);
  });
});

test('a context says what its words say, and nothing once it is cleared', () => {
  const view = new DataView(new ArrayBuffer(32));
  [(0x123 << 16) | (14 << 9) | 20, 0, 0x400 | 0x800, (1460 << 16) | (20 << 8)].forEach(
    (word, at) => {
      view.setUint32(8 + 4 * at, word, true);
    },
  );
  const context = new TxContext();
  const said = ({
    ipBytes,
    macBytes,
    vlan,
    isIpv4,
    protocol,
    transportBytes,
    segmentBytes,
  }: TxContext) => [ipBytes, macBytes, vlan, isIpv4, protocol, transportBytes, segmentBytes];
  context.load(view, 8);
  expect(said(context)).toEqual([20, 14, 0x123, true, 0x800, 20, 1460]);
  const copy = new TxContext();
  copy.copy(context);
  context.clear();
  expect(said(context)).toEqual([0, 0, 0, false, 0, 0, 0]);
  expect(said(copy)).toEqual([20, 14, 0x123, true, 0x800, 20, 1460]);
});

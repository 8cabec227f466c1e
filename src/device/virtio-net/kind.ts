import type { NetworkPort } from '../device-host.js';
import type { DeviceKind } from '../kind.js';
import { DeviceOptions, mmapOption, OptionError } from '../options.js';
import { type EndpointContext, PciEndpoint } from '../pci/endpoint.js';
import { virtioDescription } from '../virtio/description.js';
import { VirtioTransport } from '../virtio/transport.js';
import { PAIRS } from './limits.js';
import { NetConfig, networkCard } from './network-card.js';

const options = {
  mac: 'Ethernet address, 52:54:00:12:34:56; made of the PCI address unless given',
  tap: 'joins the Linux tap of this name; without it every frame that is sent comes back',
  queues: `pairs of a receive and a transmit queue, 1 (the default) to ${PAIRS}; 1 with tap=`,
  legacy:
    'off (the default: virtio 1.2 only), on (transitional: an I/O BAR beside it), or only (no virtio 1.2)',
  ...mmapOption,
};

/** Virtio's number of a network card (5). */
const NETWORK = 1;
const ETHERNET = 0x020000;
/** Locally administered, as QEMU's. */
const MAC_PREFIX = [0x52, 0x54, 0x00];

function parseMac(parsed: DeviceOptions, address: string): Uint8Array {
  const given = parsed.text('mac');
  if (given === undefined) return Uint8Array.of(...MAC_PREFIX, ...ownBytes(address));
  const wanted = 'six bytes of an address that is no group’s: 52:54:00:12:34:56';
  if (!/^([0-9a-f]{2}:){5}[0-9a-f]{2}$/i.test(given)) parsed.refuse('mac', wanted);
  const mac = Uint8Array.from(given.split(':'), (byte) => Number.parseInt(byte, 16));
  if ((mac[0]! & 1) !== 0 || mac.every((byte) => byte === 0)) parsed.refuse('mac', wanted);
  return mac;
}

/** Low byte of the domain, bus, and device with function. */
function ownBytes(address: string): number[] {
  const [domain = '', bus = '', slot = ''] = address.split(':');
  const [device = '', pciFunction = ''] = slot.split('.');
  return [
    Number.parseInt(domain, 16) & 0xff,
    Number.parseInt(bus, 16),
    Number.parseInt(device, 16) * 8 + Number(pciFunction),
  ];
}

function openNetwork(parsed: DeviceOptions, { host }: EndpointContext): NetworkPort | null {
  const tap = parsed.text('tap');
  if (tap === undefined) return null;
  // IFNAMSIZ, and what the kernel allows in a name; `%` would ask it for a number.
  if (!/^[^\s/:%]{1,15}$/.test(tap) || tap === '.' || tap === '..')
    parsed.refuse('tap', 'the name of a tap: 1 to 15 bytes');
  if (!host.openTap)
    throw new OptionError('device virtio-net: tap= cannot be used here: this run has no network');
  return host.openTap(tap);
}

/** A virtio network card, for `--device virtio-net@BDF`. */
export const virtioNet: DeviceKind = {
  name: 'virtio-net',
  summary: 'virtio 1.2 network card, looped back or joined to a Linux tap',
  options,
  create(given, context) {
    const parsed = new DeviceOptions('virtio-net', options, given);
    const mac = parseMac(parsed, context.address);
    const pairs = parsed.number('queues', 1);
    if (!Number.isInteger(pairs) || pairs < 1 || pairs > PAIRS)
      parsed.refuse('queues', `a number from 1 to ${PAIRS}`);
    if (pairs > 1 && parsed.text('tap') !== undefined)
      parsed.refuse('queues', 'only 1 together with tap=');
    const legacy = parsed.choice('legacy', ['off', 'on', 'only'], 'off');
    const { allocate } = context.host;
    const network = openNetwork(parsed, context);
    const parts = networkCard({ mac, pairs, network, legacy }, allocate);
    const description = virtioDescription({
      device: NETWORK,
      classCode: ETHERNET,
      configBytes: NetConfig.SIZE,
      queues: parts.queues,
      legacy,
    });
    return new PciEndpoint(
      'virtio-net',
      { ...description, sparse: parsed.isSparse },
      context,
      (endpoint) => new VirtioTransport(endpoint, allocate, parts),
    );
  },
};

import type { NetworkPort } from './device-host.js';
import { type DeviceOptions, OptionError } from './options.js';
import type { EndpointContext } from './pci/endpoint.js';

/** The keys that network cards take. */
export const networkOptions = {
  mac: 'Ethernet address, 52:54:00:12:34:56; made of the PCI address unless given',
  tap: 'joins the Linux tap of this name; without it every frame that is sent comes back',
  link: 'joins the wire of this name: what is sent goes to every other device of the run on it',
} as const;

/** Locally administered, as QEMU's. */
const MAC_PREFIX = [0x52, 0x54, 0x00];

/** A card's address: six bytes, by `mac=` or made of where it is. */
export function macOf(parsed: DeviceOptions, address: string): Uint8Array {
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

/** What a card is joined to, by `tap=` or `link=`; null: what is sent comes back. */
export function networkOf(parsed: DeviceOptions, { host }: EndpointContext): NetworkPort | null {
  const tap = parsed.text('tap');
  const link = parsed.text('link');
  if (tap !== undefined && link !== undefined) parsed.refuse('link', 'no value together with tap=');
  if (link !== undefined) {
    if (!/^[\w.-]{1,32}$/.test(link))
      parsed.refuse('link', 'a name of 1 to 32 letters, digits, _, . or -');
    if (!host.openLink) throw unavailable(parsed, 'link');
    return host.openLink(link);
  }
  if (tap === undefined) return null;
  // IFNAMSIZ, and what the kernel allows in a name; `%` would ask it for a number.
  if (!/^[^\s/:%]{1,15}$/.test(tap) || tap === '.' || tap === '..')
    parsed.refuse('tap', 'the name of a tap: 1 to 15 bytes');
  if (!host.openTap) throw unavailable(parsed, 'tap');
  return host.openTap(tap);
}

function unavailable({ kind }: DeviceOptions, key: string): OptionError {
  return new OptionError(`device ${kind}: ${key}= cannot be used here: this run has no network`);
}

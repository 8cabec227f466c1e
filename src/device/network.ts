import { parseTime } from '../input/time.js';
import { CutPort, LoopPort } from './cut-port.js';
import type { FrameCapture, NetworkPort } from './device-host.js';
import type { LinkFaults } from './faults.js';
import type { Impairment } from './impaired-port.js';
import { type DeviceOptions, OptionError } from './options.js';
import type { EndpointContext } from './pci/endpoint.js';

/** The keys that network cards take. */
export const networkOptions = {
  mac: 'Ethernet address, 52:54:00:12:34:56; made of the PCI address unless given',
  tap: 'joins the Linux tap of this name; without it every frame that is sent comes back',
  link: 'joins the wire of this name: what is sent goes to every other device of the run on it; unix:FOLDER: to those of other runs, too',
  loss: 'of what is sent to the tap or link, how much is lost, like 0.1%',
  delay: 'how long what is sent there is on its way, like 1ms',
  rate: 'bits per second that are sent there at most, like 1G',
  seed: 'of the frames that loss= loses; 0 unless given',
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

/** What a card is joined to. */
export interface Attachment {
  /** By `tap=` or `link=`; null: what is sent comes back. */
  readonly network: NetworkPort | null;
  /** Null: nobody captures. */
  readonly capture: FrameCapture | null;
  /** On purpose it goes down; null: it never does. */
  readonly link: LinkFaults | null;
}

export function attachmentOf(parsed: DeviceOptions, context: EndpointContext): Attachment {
  const { address, host } = context;
  const network = impairedNetwork(parsed, context);
  const capture = host.openCapture?.(`${parsed.kind}@${address}`) ?? null;
  const link = host.faults?.link ?? null;
  if (link === null) return { network, capture, link };
  return { network: new CutPort(network ?? new LoopPort(host.allocate), link), capture, link };
}

function impairedNetwork(parsed: DeviceOptions, context: EndpointContext): NetworkPort | null {
  const { host } = context;
  const impairment = impairmentOf(parsed);
  const network = networkOf(parsed, context);
  if (impairment === null) return network;
  const [key] = impairmentKeys.filter((each) => parsed.text(each) !== undefined);
  if (network === null) parsed.refuse(key!, 'no value without tap= or link=');
  if (!host.impair) throw unavailable(parsed, key!);
  return host.impair(network, impairment);
}

function networkOf(parsed: DeviceOptions, { host }: EndpointContext): NetworkPort | null {
  const tap = parsed.text('tap');
  const link = parsed.text('link');
  if (tap !== undefined && link !== undefined) parsed.refuse('link', 'no value together with tap=');
  if (link !== undefined) {
    if (!/^([\w.-]{1,32}|unix:.+)$/.test(link))
      parsed.refuse('link', 'a name of 1 to 32 letters, digits, _, . or -, or unix:FOLDER');
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

const impairmentKeys = ['loss', 'delay', 'rate', 'seed'] as const;
const bits: Readonly<Record<string, number>> = { '': 1, K: 1e3, M: 1e6, G: 1e9 };
const DELAY_MOST_US = 60e6;
const SEED_MOST = 2 ** 32 - 1;

/** Null: frames go on as they are sent. */
function impairmentOf(parsed: DeviceOptions): Impairment | null {
  if (impairmentKeys.every((key) => parsed.text(key) === undefined)) return null;
  const part = /^(\d+(?:\.\d+)?)%$/.exec(parsed.text('loss') ?? '0%');
  const loss = part === null ? Number.NaN : Number(part[1]) / 100;
  if (!(loss <= 1)) parsed.refuse('loss', 'a part of what is sent, 0% to 100%, like 0.1%');
  const delayUs = parseTime(parsed.text('delay') ?? '0us', ['us', 'ms', 's']);
  if (!(delayUs <= DELAY_MOST_US)) parsed.refuse('delay', 'a time up to 60s, like 1ms or 50us');
  const speed = /^(\d+(?:\.\d+)?)([KMG]?)$/.exec(parsed.text('rate') ?? '0');
  const given = speed === null ? Number.NaN : Number(speed[1]) * bits[speed[2]!]!;
  const isRate = parsed.text('rate') === undefined || given >= 1;
  if (!isRate) parsed.refuse('rate', 'bits per second, like 100M or 1G');
  const seed = parsed.number('seed', 0);
  if (!(Number.isInteger(seed) && seed <= SEED_MOST))
    parsed.refuse('seed', 'a whole number below 2^32');
  return { loss, delayUs, rate: given > 0 ? given : Number.POSITIVE_INFINITY, seed };
}

function unavailable({ kind }: DeviceOptions, key: string): OptionError {
  return new OptionError(`device ${kind}: ${key}= cannot be used here: this run has no network`);
}

import type { DeviceKind } from '../kind.js';
import { attachmentOf, macOf, networkOptions } from '../network.js';
import { DeviceOptions, mmapOption } from '../options.js';
import { PciEndpoint } from '../pci/endpoint.js';
import { virtioDescription } from '../virtio/description.js';
import { VirtioTransport } from '../virtio/transport.js';
import { PAIRS } from './limits.js';
import { NetConfig, networkCard } from './network-card.js';

const options = {
  ...networkOptions,
  queues: `pairs of a receive and a transmit queue, 1 (the default) to ${PAIRS}; 1 with tap= or link=`,
  legacy:
    'off (the default: virtio 1.2 only), on (transitional: an I/O BAR beside it), or only (no virtio 1.2)',
  ...mmapOption,
};

/** Virtio's number of a network card (5). */
const NETWORK = 1;
const ETHERNET = 0x020000;
/** A virtio network card, for `--device virtio-net@BDF`. */
export const virtioNet: DeviceKind = {
  name: 'virtio-net',
  summary: "virtio 1.2 network card, looped back or joined to a Linux tap or the run's other cards",
  options,
  create(given, context) {
    const parsed = new DeviceOptions('virtio-net', options, given);
    const mac = macOf(parsed, context.address);
    const pairs = parsed.number('queues', 1);
    if (!Number.isInteger(pairs) || pairs < 1 || pairs > PAIRS)
      parsed.refuse('queues', `a number from 1 to ${PAIRS}`);
    if (pairs > 1 && ['tap', 'link'].some((key) => parsed.text(key) !== undefined))
      parsed.refuse('queues', 'only 1 together with tap= or link=');
    const legacy = parsed.choice('legacy', ['off', 'on', 'only'], 'off');
    const { allocate } = context.host;
    const attachment = attachmentOf(parsed, context);
    const parts = networkCard({ mac, pairs, attachment, legacy }, allocate);
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

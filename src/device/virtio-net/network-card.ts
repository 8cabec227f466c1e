import type { AllocateDma } from '../../mm/frame-memory.js';
import type { Attachment } from '../network.js';
import type { QueuePages } from '../virtio/queue-pages.js';
import { Feature, type LegacyMode } from '../virtio/registers.js';
import type { VirtioDevice, VirtioParts, VirtioTransport } from '../virtio/transport.js';
import { ControlQueue } from './control.js';
import { HEADER_BYTES, LEGACY_HEADER_BYTES } from './limits.js';
import { QueuePair, Workspace } from './pair.js';

/** Feature numbers of a network card (5.1.3). */
export const NetFeature = { MAC: 5, MRG_RXBUF: 15, STATUS: 16, CTRL_VQ: 17, MQ: 22 } as const;

/** struct virtio_net_config (5.1.4): address, status, queue pairs, and an MTU that none is told. */
export const NetConfig = { MAC: 0, STATUS: 6, QUEUE_PAIRS: 8, SIZE: 12 } as const;
const LINK_UP = 1;

export interface CardOptions {
  /** Six bytes. */
  readonly mac: Uint8Array;
  /** Queue pairs: 1 to PAIRS. */
  readonly pairs: number;
  readonly attachment: Attachment;
  readonly legacy: LegacyMode;
}

/** A network card's part of a virtio function: its configuration, features and queues. */
export function networkCard(options: CardOptions, allocate: AllocateDma): VirtioParts {
  const { mac, pairs } = options;
  const config = new Uint8Array(NetConfig.SIZE);
  config.set(mac, NetConfig.MAC);
  config[NetConfig.STATUS] = LINK_UP;
  config[NetConfig.QUEUE_PAIRS] = pairs;
  const { MAC, STATUS, MRG_RXBUF, CTRL_VQ, MQ } = NetFeature;
  return {
    features: [MAC, STATUS, MRG_RXBUF, ...(pairs > 1 ? [CTRL_VQ, MQ] : [])],
    config,
    queues: queueCount(pairs),
    legacy: options.legacy,
    createDevice: (transport) => new NetworkCard(transport, options, allocate),
  };
}

/** Receive and transmit queues of each pair, and the control queue where there are several. */
function queueCount(pairs: number): number {
  return pairs > 1 ? 2 * pairs + 1 : 2;
}

/** A virtio network card (5.1) without offloads. */
class NetworkCard implements VirtioDevice {
  private readonly transport: VirtioTransport;
  private readonly pairs: readonly QueuePair[];
  private readonly control: ControlQueue;
  private readonly pages: QueuePages;
  /** Pairs in use, from the first on (5.1.6.5.6). */
  private used = 1;
  /**
   * The control queue lies behind the pairs; behind the first one for a driver that does not know
   * of more (5.1.2).
   */
  private controlIndex = -1;

  constructor(
    transport: VirtioTransport,
    { pairs, attachment }: CardOptions,
    allocate: AllocateDma,
  ) {
    const { dma } = transport.endpoint;
    const work = new Workspace(allocate, dma);
    this.transport = transport;
    this.pages = work.pages;
    dma.asker = () => work.asking;
    this.pairs = Array.from(
      { length: pairs },
      (_, index) => new QueuePair(transport, index, work, attachment),
    );
    const { link } = attachment;
    link?.watch(() => transport.setConfig(NetConfig.STATUS, link.isDown ? 0 : LINK_UP));
    this.control = new ControlQueue(transport, work, allocate, (count) => this.setPairs(count));
  }

  reset(): void {
    this.used = 1;
    this.controlIndex = -1;
    this.transport.endpoint.dma.ahead?.reset();
  }

  start(): void {
    const { features } = this.transport;
    const mergeable = features.has(NetFeature.MRG_RXBUF);
    const isModern = features.has(Feature.VERSION_1);
    const headerBytes = isModern || mergeable ? HEADER_BYTES : LEGACY_HEADER_BYTES;
    for (const pair of this.pairs) pair.start(mergeable, headerBytes);
    if (!features.has(NetFeature.CTRL_VQ)) return;
    this.controlIndex = features.has(NetFeature.MQ) ? 2 * this.pairs.length : 2;
    this.transport.queues[this.controlIndex]!.quiet = false;
  }

  poll(): boolean {
    if (this.pages.isWaiting) return false;
    let found = false;
    if (this.controlIndex >= 0 && this.control.poll(this.transport.queues[this.controlIndex]!))
      found = true;
    for (let index = 0; index < this.used; index++) if (this.pairs[index]!.poll()) found = true;
    return found;
  }

  private setPairs(count: number): boolean {
    if (!this.transport.features.has(NetFeature.MQ) || count < 1 || count > this.pairs.length)
      return false;
    this.used = count;
    return true;
  }
}

import { ImpairedPort, type Impairment } from '../../device/impaired-port.js';
import type { FrameCapture, NetworkPort } from '../../device/index.js';
import { Wires } from '../../device/wire.js';
import { UserError } from '../../input/user-error.js';
import { allocateNative } from '../../mm/process/libc.js';
import type { Pcapng } from '../../trace/pcapng.js';
import type { BackgroundWork } from '../run/background.js';
import { openTap } from './tap.js';
import { UnixLink } from './unix-link.js';

const UNIX = 'unix:';

/** What the network cards of a run are joined to. */
export class Networks implements BackgroundWork {
  private readonly wires = new Wires();
  private readonly links: UnixLink[] = [];
  private readonly impaired: ImpairedPort[] = [];
  private captured = 0;

  /** @param nowUs the clock in microseconds */
  constructor(
    private readonly nowUs: () => number,
    private readonly capture: Pcapng | null,
  ) {}

  readonly openTap = openTap;

  readonly openLink = (name: string): NetworkPort => {
    if (!name.startsWith(UNIX)) return this.wires.open(name);
    const link = new UnixLink(name.slice(UNIX.length));
    this.links.push(link);
    return link;
  };

  readonly impair = (network: NetworkPort, impairment: Impairment): NetworkPort => {
    const port = new ImpairedPort(network, impairment, allocateNative, this.nowUs);
    this.impaired.push(port);
    return port;
  };

  /** Absent: nobody captures. */
  get openCapture(): ((name: string) => FrameCapture) | undefined {
    const { capture } = this;
    if (capture === null) return undefined;
    return (name) => {
      this.captured++;
      const port = capture.addInterface(name);
      return (frames, offset, length, isSent) =>
        capture.frame(port, frames, offset, length, isSent);
    };
  }

  /** All devices are there. Throws UserError where there is no card to capture from. */
  ready(): void {
    if (this.capture !== null && this.captured === 0)
      throw new UserError('--pcap: this run has no network card; --device igb@01:00.0 is one');
  }

  get dueMs(): number {
    let dueUs = Number.POSITIVE_INFINITY;
    for (const port of this.impaired) dueUs = Math.min(dueUs, port.dueUs);
    for (const link of this.links) dueUs = Math.min(dueUs, link.dueUs);
    return dueUs / 1000;
  }

  /** Hands on what has waited for long enough. */
  run(nowMs: number): void {
    for (const port of this.impaired) port.deliver(nowMs * 1000);
    for (const link of this.links) link.deliver(nowMs * 1000);
  }

  close(): void {
    for (const link of this.links) link.close();
  }
}

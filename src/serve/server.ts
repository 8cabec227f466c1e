/**
 * The loop of a served device: one client after the other. It spins while the device is at work and
 * sleeps when it is not; a message wakes it at once. It blocks its thread.
 */

import { POLLIN, POLLOUT } from '../abi/linux.js';
import { tell } from '../exec/run/tell.js';
import { Pace } from '../exec/seccomp/pace.js';
import { allocateNative, ppoll } from '../mm/process/libc.js';
import { Timespec } from '../mm/process/timespec.js';
import type { Listener } from './listener.js';
import type { Waiting } from './peer.js';
import type { ServedDevice } from './served-device.js';
import { Session } from './session.js';

/** struct pollfd: int fd, short events, short revents. */
const POLLFD_BYTES = 8;
const POLLED = 2;
/** How often the loop looks after what happens without notice. */
const TICK_MS = 50;
/** So long a client may take to answer, or to take an answer: QEMU gives its servers as long. */
const PATIENCE_MS = 5000;

export interface ServerOptions {
  readonly device: ServedDevice;
  readonly listener: Listener;
  readonly once: boolean;
  /** Readable when signals have come; `ends` takes them, true: the server must end. */
  readonly signalFd: number;
  readonly ends: () => boolean;
  readonly nowMs: () => number;
  /** Networks and the like, while a client is there. */
  readonly background: (nowMs: number) => void;
  /** Every 50 ms or so. */
  readonly tick: () => void;
}

/** What came in over all clients. */
export interface ServedCounts {
  clients: number;
  requests: number;
  /** DMA_READ and DMA_WRITE messages to clients. */
  dmaMessages: number;
  interrupts: number;
}

export class Server implements Waiting {
  readonly counts: ServedCounts = { clients: 0, requests: 0, dmaMessages: 0, interrupts: 0 };
  private readonly polls = allocateNative(POLLED * POLLFD_BYTES);
  private readonly fds = new Int32Array(this.polls.bytes.buffer, 0, POLLED * 2);
  private readonly events = new Int16Array(this.polls.bytes.buffer, 0, POLLED * 4);
  private readonly timeout = new Timespec();
  private session: Session | null = null;
  private isEnding = false;
  private readonly pace = new Pace();
  private lastTickMs = 0;

  constructor(private readonly options: ServerOptions) {
    this.fds[0] = options.signalFd;
    this.events[2] = POLLIN;
  }

  /** Serves until it is told to end, or no client comes any more. */
  run(): void {
    while (!this.isEnding) {
      const { session } = this;
      if (session !== null) this.serve(session);
      else if (!this.welcome()) return;
    }
    this.leave();
  }

  readable(fd: number): boolean {
    return this.waitFor(fd, POLLIN);
  }

  writable(fd: number): boolean {
    return this.waitFor(fd, POLLOUT);
  }

  /** Waits for the next client; false: there is none to come. */
  private welcome(): boolean {
    const { device, listener, once } = this.options;
    if (listener.isClosed || (once && this.counts.clients > 0)) return false;
    const fd = listener.take();
    if (fd < 0) {
      this.poll(listener.fd, POLLIN, null);
      return true;
    }
    this.counts.clients++;
    this.session = new Session(fd, device, this);
    this.lastTickMs = this.options.nowMs();
    this.pace.worked(this.lastTickMs);
    return true;
  }

  private serve(session: Session): void {
    const done = session.serve();
    const { current } = session;
    const worked = current?.pciFunction.poll() === true;
    if (done < 0 || session.isOver) return this.leave();
    const nowMs = this.options.nowMs();
    this.options.background(nowMs);
    if (nowMs - this.lastTickMs >= TICK_MS) {
      this.lastTickMs = nowMs;
      this.options.tick();
      current?.interrupts.remind();
    }
    if (done > 0 || worked) this.pace.worked(nowMs);
    const pauseMs = this.pace.pauseMs(nowMs);
    this.poll(session.fd, POLLIN, pauseMs > 0 && current === null ? TICK_MS : pauseMs);
  }

  /** The client's time is over. */
  private leave(): void {
    const { session, counts } = this;
    if (session === null) return;
    this.session = null;
    counts.requests += session.requests;
    counts.dmaMessages += session.asked;
    counts.interrupts += session.current?.interrupts.signals ?? 0;
    // Whoever is waited for when the server ends is not to blame.
    if (session.complaint !== null && !this.isEnding)
      tell(`client ${counts.clients} ${session.complaint}; given up`);
    session.close();
  }

  private waitFor(fd: number, events: number): boolean {
    const { nowMs } = this.options;
    const endMs = nowMs() + PATIENCE_MS;
    for (let left = PATIENCE_MS; left > 0 && !this.isEnding; left = endMs - nowMs())
      if (this.poll(fd, events, left)) return true;
    return false;
  }

  /** Waits so many milliseconds, or for ever; true: `fd` has what is waited for. */
  private poll(fd: number, events: number, ms: number | null): boolean {
    this.fds[2] = fd;
    this.events[6] = events;
    this.events[3] = this.events[7] = 0;
    ppoll(this.polls.address, POLLED, ms === null ? 0 : this.timeout.set(ms), 0);
    if (this.events[3] !== 0 && this.options.ends()) this.isEnding = true;
    return this.events[7] !== 0;
  }
}

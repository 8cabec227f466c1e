/**
 * A recorded exchange (test/vectors-vfio-user) done again with a server of iopf's: the device has
 * the recorded one's regions and interrupts, and answers as that one did.
 */

import { errnoName } from '../../src/abi/errno.js';
import { MFD_CLOEXEC, O_NONBLOCK, O_RDWR } from '../../src/abi/linux.js';
import {
  PCI_CONFIG_SIZE,
  PCIE_CONFIG_SIZE,
  PciInterruptIndex,
  PciRegionIndex,
} from '../../src/abi/pci.js';
import { DmaPort } from '../../src/device/index.js';
import { makeSocketPair } from '../../src/exec/run/descriptor-message.js';
import { MessageSocket } from '../../src/exec/vfio-user/message-socket.js';
import { IommuDevice } from '../../src/iommu/device.js';
import { Counters } from '../../src/iommu/observer.js';
import {
  allocateNative,
  close,
  dup,
  eventfd,
  ftruncate,
  memfdCreate,
  open,
  pipe2,
  read,
  write,
} from '../../src/mm/process/libc.js';
import { ClientMemory } from '../../src/serve/client-memory.js';
import type { Waiting } from '../../src/serve/peer.js';
import { ServedDevice, servedGeometry } from '../../src/serve/served-device.js';
import { Session } from '../../src/serve/session.js';
import { createState } from '../../src/vfio/machine-state.js';
import type { InterruptSink, PciFunction, PciRegion } from '../../src/vfio/pci-function.js';
import { readVersion } from '../../src/vfio-user/capabilities.js';
import { writeHeader } from '../../src/vfio-user/header.js';
import { Command, MessageFlag } from '../../src/vfio-user/protocol.js';
import { HEADER_BYTES } from '../../src/vfio-user/structs.js';

type Payload = string | { readonly head: string; readonly zero_tail: number };

interface Descriptor {
  readonly kind: string;
  readonly name: string;
  readonly size?: number;
}

export interface Message {
  readonly id: number | string;
  readonly cmd: number;
  readonly payload: Payload;
  readonly size?: number;
  readonly raw?: string;
  readonly flags?: number;
  readonly error?: string | number;
  readonly sock?: string;
  readonly fds?: readonly Descriptor[];
}

interface Callback {
  readonly callback: string;
  readonly args: readonly unknown[];
  readonly ret: number | null;
  readonly data?: string;
  readonly data_out?: string;
}

export interface Step {
  readonly connect?: string;
  readonly close?: string;
  readonly send?: Message;
  readonly expect?: Message | readonly Message[] | null;
  readonly callbacks?: readonly Callback[];
  readonly server?: {
    readonly call: string;
    readonly args: readonly unknown[];
    readonly ret?: number | null;
    readonly data?: string;
  };
  readonly server_sends?: Message | readonly Message[];
  readonly answer?: Message;
  readonly server_result?: { readonly ret: number; readonly data?: string };
  readonly server_closed?: boolean;
  readonly eventfds_fired?: Readonly<Record<string, number>>;
}

interface Server {
  readonly regions?: readonly {
    readonly index: number;
    readonly size: number;
    readonly flags: number;
    readonly fd: Descriptor | null;
    readonly mmap_areas: readonly (readonly [number, number])[] | null;
  }[];
  readonly irqs: Readonly<Record<string, number>>;
  readonly pci?: { readonly type: string };
}

export interface Recorded {
  readonly name: string;
  readonly server: string | Server;
  readonly handshake?: true;
  readonly steps: readonly Step[];
}

export interface Servers {
  readonly servers: Readonly<Record<string, Server>>;
  readonly handshakes: Readonly<Record<string, readonly Step[]>>;
}

const none: PciRegion = { size: 0, readable: false, writable: false, mappable: false };

/** A device that does what the recorded one did. */
class RecordedFunction implements PciFunction {
  readonly address = '0000:00:00.0';
  readonly kind = 'recorded server';
  readonly iommu: IommuDevice;
  readonly regions: readonly PciRegion[];
  readonly interruptCounts: readonly number[];
  readonly resettable = true;
  resets = 0;
  /** What reads of regions get, and what writes gave. */
  readonly answers: string[] = [];
  written = '';
  sink: InterruptSink | null = null;

  constructor(server: Server, counters: Counters) {
    this.iommu = new IommuDevice({ address: this.address, counters });
    const regions = new Array<PciRegion>(PciRegionIndex.COUNT).fill(none);
    const bytes = server.pci?.type === 'EXPRESS' ? PCIE_CONFIG_SIZE : PCI_CONFIG_SIZE;
    regions[PciRegionIndex.CONFIG] = { ...none, size: bytes, readable: true, writable: true };
    for (const { fd, flags, index, mmap_areas, size } of server.regions ?? []) {
      if (size === 0 || index === PciRegionIndex.CONFIG) continue;
      const sparse = mmap_areas?.map(([offset, bytes]) => ({ offset, size: bytes }));
      regions[index] = {
        size,
        readable: (flags & 1) !== 0,
        writable: (flags & 2) !== 0,
        mappable: fd !== null,
        ...(sparse === undefined ? {} : { sparse }),
      };
    }
    this.regions = regions;
    const names = { INTX: 0, MSI: 1, MSIX: 2, ERR: 3, REQ: 4 };
    const counts = new Array<number>(PciInterruptIndex.COUNT).fill(0);
    for (const [name, count] of Object.entries(server.irqs))
      counts[names[name as keyof typeof names]] = count;
    this.interruptCounts = counts;
  }

  open(sink: InterruptSink): void {
    this.sink = sink;
  }

  release(): void {}

  reset(): void {
    this.resets++;
  }

  readRegion(_index: number, _offset: number, into: Uint8Array): void {
    into.fill(0);
    into.set(bytesOf(this.answers.shift() ?? '').subarray(0, into.length));
  }

  writeRegion(_index: number, _offset: number, from: Uint8Array): void {
    this.written += hexOf(from);
  }

  interruptsEnabled(): void {}

  poll(): boolean {
    return false;
  }
}

const bytesOf = (hex: string): Uint8Array => Uint8Array.from(Buffer.from(hex, 'hex'));
const hexOf = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

function payloadOf(payload: Payload): Uint8Array {
  if (typeof payload === 'string') return bytesOf(payload);
  const head = bytesOf(payload.head);
  const whole = new Uint8Array(payload.zero_tail);
  whole.set(head);
  return whole;
}

const scratch = allocateNative(2 ** 21);

/** What is different, a line each; none: the server answers as the recorded one did. */
export class Replay implements Waiting {
  readonly differences: string[] = [];
  private readonly counters = new Counters();
  private readonly device: RecordedFunction;
  private readonly served: ServedDevice;
  private readonly memory = new ClientMemory();
  private readonly memoryFd = memfdCreate('regions', MFD_CLOEXEC);
  private readonly port: DmaPort;
  private readonly objects = new Map<string, number>();
  private readonly sgls = new Map<string, readonly [number, number]>();
  private session: Session | null = null;
  /** The server has given the client up. */
  private isOver = false;
  private readonly sockets = new Map<string, { fd: number; end: MessageSocket }>();
  /** What the client says to the server's own messages, in order. */
  private script: Step[] = [];

  constructor(
    recorded: Recorded,
    private readonly servers: Servers,
  ) {
    const server =
      typeof recorded.server === 'string' ? servers.servers[recorded.server]! : recorded.server;
    ftruncate(this.memoryFd, 2 ** 46);
    this.device = new RecordedFunction(server, this.counters);
    const { counters, device, memory, memoryFd } = this;
    const state = createState({ geometry: servedGeometry, counters });
    this.served = new ServedDevice(device, memoryFd, memory, state);
    this.port = new DmaPort(device.iommu, memory);
    this.port.enabled = true;
    const handshake =
      recorded.handshake && typeof recorded.server === 'string'
        ? servers.handshakes[recorded.server]!
        : [];
    this.run([...handshake, ...recorded.steps]);
    this.leave();
    for (const { end } of this.sockets.values()) end.close();
    for (const fd of this.objects.values()) close(fd);
    close(memoryFd);
    for (const name of ['mappedPages', 'pinnedPages', 'residentPages'] as const)
      if (counters[name] !== 0) this.note(`${name} is ${counters[name]} at the end`);
  }

  readable(): boolean {
    const step = this.script.shift();
    if (step === undefined) return false;
    this.checkSent(step);
    for (const { answer, close: closed, send } of this.script) {
      if (send !== undefined) this.send(send);
      if (closed !== undefined) this.closeSocket(closed);
      if (answer === undefined) continue;
      const off = typeof answer.id === 'number' ? answer.id - this.recordedId : 0;
      this.send({ ...answer, id: this.lastAsked + off });
      break;
    }
    return true;
  }

  writable(): boolean {
    return this.sockets.get('main')?.end.receive() === 'waiting';
  }

  private lastAsked = 0;
  private recordedId = 0;

  private checkSent({ server_sends: sends }: Step): void {
    for (const expected of [sends ?? []].flat()) {
      const { end } = this.sockets.get(expected.sock ?? 'main')!;
      if (end.receive() !== 'message') {
        this.note(`the server did not send command ${expected.cmd}`);
        continue;
      }
      this.lastAsked = end.head.id;
      this.recordedId = Number(expected.id);
      if (
        end.head.command !== expected.cmd ||
        hexOf(end.body) !== hexOf(payloadOf(expected.payload))
      )
        this.note(`the server sent command ${end.head.command}: ${hexOf(end.body).slice(0, 80)}`);
    }
  }

  private run(steps: readonly Step[]): void {
    for (let at = 0; at < steps.length; at++) {
      const step = steps[at]!;
      if (step.connect !== undefined) this.connect(step.connect);
      for (const { callback, data_out: out } of step.callbacks ?? [])
        if (callback === 'pci_region_cb' && out !== undefined) this.device.answers.push(out);
      this.device.written = '';
      if (step.server !== undefined) {
        let last = at;
        const isOpen = step.server_sends !== undefined && step.server.ret === undefined;
        const goesOn = (): boolean =>
          isOpen ? steps[last]!.server_result === undefined : steps[last + 1]?.answer !== undefined;
        while (last + 1 < steps.length && goesOn()) last++;
        this.act(step, steps.slice(at, last + 1));
        at = last;
      }
      if (step.send !== undefined) this.send(step.send);
      if (step.close !== undefined) this.closeSocket(step.close);
      if (step.server?.call === 'vfu_destroy_ctx') this.leave();
      if (this.session !== null && !this.isOver) this.serve();
      const { isOver } = this;
      if (step.expect !== undefined) this.expect([step.expect ?? []].flat());
      if (step.send !== undefined) this.checkWritten(step);
      if (step.server_closed === true && !isOver && this.session !== null)
        this.note('the server did not close');
      if (isOver) this.leave();
      for (const [name, count] of Object.entries(step.eventfds_fired ?? {}))
        if (this.fired(name) !== count) this.note(`${name} was not signalled ${count} times`);
    }
  }

  private serve(): number {
    for (;;) {
      const done = this.session!.serve();
      if (done < 0) this.isOver = true;
      if (done <= 0) return done;
    }
  }

  private checkWritten({ callbacks = [] }: Step): void {
    const written = callbacks.map(({ data }) => data ?? '').join('');
    if (written !== this.device.written) this.note(`wrote ${this.device.written}, not ${written}`);
  }

  private connect(name: string): void {
    if (this.session !== null) return;
    const [ours, theirs] = makeSocketPair();
    this.session = new Session(ours, this.served, this);
    this.isOver = false;
    this.sockets.get(name)?.end.close();
    this.sockets.set('main', { fd: theirs, end: new MessageSocket(theirs) });
  }

  private closeSocket(name: string): void {
    const socket = this.sockets.get(name === 'twin' ? name : 'main');
    socket?.end.close();
    this.sockets.delete(name === 'twin' ? name : 'main');
  }

  private leave(): void {
    const { end } = this.sockets.get('main') ?? {};
    if (end?.receive() === 'message') this.note(`a reply too many, to ${end.head.id}`);
    this.session?.close();
    this.session = null;
  }

  private send({
    cmd,
    error,
    fds = [],
    flags = 0,
    id,
    payload,
    raw,
    size,
    sock = 'main',
  }: Message): void {
    const socket = this.sockets.get(sock);
    if (socket === undefined) return;
    const { end, fd } = socket;
    const descriptors = fds.map((each) => this.object(each));
    if (raw !== undefined) {
      const bytes = bytesOf(raw);
      scratch.bytes.set(bytes);
      write(fd, scratch.address, bytes.length);
      return;
    }
    const body = payloadOf(payload);
    const head = { id: Number(id), command: cmd, flags, error: Number(error ?? 0) };
    const wait = (): boolean => this.serve() >= 0;
    if (size === undefined) {
      end.outgoing.bytes.set(body);
      end.send(head, body.length, descriptors, wait);
      return;
    }
    // A size that is not the body's.
    writeHeader(new DataView(scratch.bytes.buffer), head, size - HEADER_BYTES);
    scratch.bytes.set(body, HEADER_BYTES);
    for (let done = 0; done < HEADER_BYTES + body.length; this.serve())
      done += Math.max(0, this.some(fd, done, HEADER_BYTES + body.length - done));
  }

  /** Writes as much as a socket takes without waiting. */
  private some(fd: number, at: number, length: number): number {
    return write(fd, scratch.address + at, Math.min(length, 65536));
  }

  private expect(messages: readonly Message[]): void {
    const { end } = this.sockets.get('main') ?? {};
    if (end === undefined) return;
    for (const expected of messages) {
      if (end.receive() === 'message') this.compare(end, expected);
      else return this.note(`no reply to ${expected.id}`);
    }
  }

  private compare(end: MessageSocket, expected: Message): void {
    const { body, descriptors, head } = end;
    const isError = (head.flags & MessageFlag.ERROR) !== 0;
    const wanted = typeof expected.error === 'number' ? `errno ${expected.error}` : expected.error;
    const error = isError ? errnoName(head.error) : undefined;
    if (error !== wanted && !(isError && expected.error === head.error))
      this.note(`command ${expected.cmd}: ${error ?? 'success'}, not ${wanted ?? 'success'}`);
    else if (head.id !== expected.id || head.command !== expected.cmd)
      this.note(`a reply to ${head.id}, not ${expected.id}`);
    else if (!this.isSameBody(body, payloadOf(expected.payload), expected.cmd))
      this.note(`command ${expected.cmd}: ${hexOf(body).slice(0, 160)}`);
    if (descriptors.length !== (expected.fds ?? []).length)
      this.note(`command ${expected.cmd}: ${descriptors.length} descriptors`);
    if (expected.fds?.[0]?.name === 'twin' && descriptors.length > 0) {
      const fd = dup(descriptors[0]!);
      this.sockets.set('twin', { fd, end: new MessageSocket(fd) });
    }
  }

  private isSameBody(body: Uint8Array, expected: Uint8Array, command: number): boolean {
    if (command === Command.VERSION && expected.length > 0 && body.length > 0) {
      const [ours, theirs] = [readVersion(body), readVersion(expected)];
      return (
        ours.minor === theirs.minor &&
        ours.capabilities.twinSocket === theirs.capabilities.twinSocket
      );
    }
    if (command === Command.DEVICE_GET_REGION_INFO) {
      // Where a region lies in its file is the server's choice.
      body = body.slice();
      body.fill(0, 24, 32);
      expected.fill(0, 24, 32);
    }
    return hexOf(body) === hexOf(expected);
  }

  /** The device's side acts. */
  private act({ server }: Step, script: Step[]): void {
    const { args, call, data = '', ret } = server!;
    const result = script.at(-1)!.server_result;
    const [first, second] = args as [{ sg: string } | number, number];
    if (call === 'vfu_addr_to_sgl') {
      const sgl = args[2] as { sg: string };
      this.sgls.set(sgl.sg, [first as number, second]);
    } else if (call === 'vfu_irq_trigger') {
      const { interrupts } = this.session!.current!;
      const hits = [0, 1, 2].filter((index) => interrupts.signal(index, first as number));
      if ((ret === 0) !== hits.length > 0) this.note(`vector ${first} reached ${hits.length}`);
    } else if (call === 'vfu_sgl_read' || call === 'vfu_sgl_write') {
      const [address, length] = this.sgls.get((first as { sg: string }).sg)!;
      this.script = script;
      const isRead = call === 'vfu_sgl_read';
      if (!isRead) scratch.bytes.set(bytesOf(data));
      const isDone = isRead
        ? this.port.readRange(address, length, scratch)
        : this.port.writeRange(address, length, scratch);
      this.script = [];
      const answered = result?.ret ?? ret;
      if (answered !== undefined && isDone !== (answered === 0)) this.note(`${call}: ${isDone}`);
      const bytes = hexOf(scratch.bytes.subarray(0, length));
      if (isDone && isRead && bytes !== (result?.data ?? data)) this.note(`${call}: ${bytes}`);
    }
  }

  private object({ kind, name, size = 0 }: Descriptor): number {
    const known = this.objects.get(name);
    if (known !== undefined) return known;
    const fd = makeObject(kind, size);
    this.objects.set(name, fd);
    return fd;
  }

  private fired(name: string): number {
    const fd = this.objects.get(name);
    if (fd === undefined) return 0;
    scratch.bytes.fill(0, 0, 8);
    return read(fd, scratch.address, 8) === 8 ? scratch.bytes[0]! : 0;
  }

  private note(difference: string): void {
    this.differences.push(difference);
  }
}

function makeObject(kind: string, size: number): number {
  switch (kind) {
    case 'eventfd':
      return eventfd(0, O_NONBLOCK);
    case 'pipe': {
      pipe2(scratch.address, 0);
      const [one, other] = new Int32Array(scratch.bytes.buffer, 0, 2);
      close(other!);
      return one!;
    }
    case 'socket': {
      const [one, other] = makeSocketPair();
      close(other);
      return one;
    }
    case 'file': {
      const fd = open('/tmp', O_RDWR | 0o20200000, 0o600);
      ftruncate(fd, size);
      return fd;
    }
    default: {
      const fd = memfdCreate('memory', MFD_CLOEXEC);
      ftruncate(fd, size);
      return fd;
    }
  }
}

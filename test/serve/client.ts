/** A client in the test's own process: sends what it is told, byte for byte, and reads replies. */

import { IncidentLog } from '../../src/exec/incidents/incident-log.js';
import { parsePlaceless } from '../../src/exec/machine/machine-spec.js';
import { Networks } from '../../src/exec/machine/networks.js';
import { makeSocketPair } from '../../src/exec/run/descriptor-message.js';
import { MessageSocket } from '../../src/exec/vfio-user/message-socket.js';
import { Counters } from '../../src/iommu/observer.js';
import type { Waiting } from '../../src/serve/peer.js';
import { makeServed } from '../../src/serve/serve.js';
import type { ServedDevice } from '../../src/serve/served-device.js';
import { Session } from '../../src/serve/session.js';
import { writeVersion } from '../../src/vfio-user/capabilities.js';
import { Command, MessageFlag, TYPE_MASK, TYPE_REPLY } from '../../src/vfio-user/protocol.js';

const now = (): number => 0;

export interface Answer {
  readonly id: number;
  readonly command: number;
  readonly error: number;
  readonly body: Uint8Array;
  readonly descriptors: number;
}

export async function makeDevice(
  kind: string,
): Promise<{ device: ServedDevice; counters: Counters; incidents: IncidentLog }> {
  const counters = new Counters();
  const incidents = new IncidentLog(now, 0);
  const networks = new Networks(now, null);
  const options = { device: parsePlaceless(kind, 'test'), premapPages: 1 };
  const device = await makeServed(options, { counters, observer: null, networks, incidents });
  return { device, counters, incidents };
}

/** A client and its session. The client's memory is `memory`, from address 0 on. */
export class Client implements Waiting {
  readonly session: Session;
  readonly socket: MessageSocket;
  /** What answers DMA_READ and DMA_WRITE; absent: nobody does. */
  memory: Uint8Array | null = null;
  /** DMA messages that came. */
  asked = 0;
  /** Is called before a DMA message is answered. */
  crossing: (() => void) | null = null;
  /** Those that nobody has looked at. */
  readonly replies: Answer[] = [];
  private id = 0;

  constructor(device: ServedDevice, agrees = true) {
    const [server, client] = makeSocketPair();
    this.session = new Session(server, device, this);
    this.socket = new MessageSocket(client);
    if (agrees) this.ask(Command.VERSION, writeVersion(2, { maxMessageDescriptors: 8 }));
  }

  /** The server waits for an answer: gives it. A reply may come before the question. */
  readable(): boolean {
    const { memory, socket } = this;
    while (socket.receive() === 'message') {
      const { body, head } = socket;
      if ((head.flags & TYPE_MASK) === TYPE_REPLY) {
        this.keep();
        continue;
      }
      this.asked++;
      if (memory === null) return false;
      const view = new DataView(body.buffer, body.byteOffset, body.byteLength);
      const [address = 0, count = 0] = [0, 8].map((at) => Number(view.getBigUint64(at, true)));
      socket.outgoing.bytes.set(body.subarray(0, 16));
      const isRead = head.command === Command.DMA_READ;
      const isInside = address + count <= memory.length;
      if (isInside && isRead)
        socket.outgoing.bytes.set(memory.subarray(address, address + count), 16);
      if (isInside && !isRead) memory.set(body.subarray(16), address);
      this.crossing?.();
      const flags = TYPE_REPLY | (isInside ? 0 : MessageFlag.ERROR);
      const reply = { id: head.id, command: head.command, flags, error: isInside ? 0 : 14 };
      const length = !isInside ? 0 : isRead ? 16 + count : 16;
      return socket.send(reply, length, [], () => false);
    }
    return false;
  }

  private keep(): void {
    const { body, descriptors, head } = this.socket;
    const isError = (head.flags & MessageFlag.ERROR) !== 0;
    this.replies.push({
      id: head.id,
      command: head.command,
      error: isError ? head.error : 0,
      body: body.slice(),
      descriptors: descriptors.length,
    });
  }

  writable(): boolean {
    return this.socket.receive() === 'waiting';
  }

  send(command: number, body: Uint8Array, descriptors: readonly number[] = [], flags = 0): number {
    const id = this.id++ % 2 ** 16;
    this.socket.outgoing.bytes.set(body);
    this.socket.send({ id, command, flags, error: 0 }, body.length, descriptors, () => {
      return this.session.serve() >= 0;
    });
    return id;
  }

  /** One request and its reply; null: there is none. */
  ask(command: number, body: Uint8Array, descriptors: readonly number[] = []): Answer | null {
    const id = this.send(command, body, descriptors);
    while (this.session.serve() > 0);
    while (this.socket.receive() === 'message') this.keep();
    const reply = this.replies.shift() ?? null;
    if (reply !== null && (reply.id !== id || reply.command !== command))
      throw new Error(`a reply to ${reply.id}, not to ${id}`);
    return reply;
  }

  close(): void {
    this.session.close();
    this.socket.close();
  }
}

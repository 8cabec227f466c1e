/** A small device behind a fake server: config space, a BAR with a file's page, interrupts. */
import { Errno } from '../../../src/abi/errno.js';
import { DeviceInfo, IrqInfo, RegionInfo } from '../../../src/abi/vfio-structs.js';
import { writeVersion } from '../../../src/vfio-user/capabilities.js';
import { Command } from '../../../src/vfio-user/protocol.js';
import { FakeHost, type Message, refusal, reply } from './fake-server.js';

export const BAR_FD = 40;
export const BAR_BYTES = 0x3000;

export const u32 = (body: Uint8Array, at: number): number =>
  new DataView(body.buffer, body.byteOffset).getUint32(at, true);
export const u64 = (body: Uint8Array, at: number): number =>
  u32(body, at) + u32(body, at + 4) * 2 ** 32;

export class FakeDevice {
  readonly config = new Uint8Array(256);
  readonly bar = new Uint8Array(BAR_BYTES);
  readonly requests: Message[] = [];
  /** Answers in place of the device's; undefined: it answers itself. */
  override: ((message: Message) => readonly Message[] | null | undefined) | null = null;
  /** VFIO_IRQ_INFO_* of INTx. */
  intxFlags = 1;
  twin = false;
  /** The file of the BAR's second page. */
  barFd = BAR_FD;
  readonly host = new FakeHost(
    (message) => this.answer(message),
    (message) => this.twinAnswers(message),
  );
  twinAnswers: (message: Message) => readonly Message[] | null = () => [];

  constructor() {
    const view = new DataView(this.config.buffer);
    view.setUint32(0, 0x1234_1b36, true);
    view.setUint16(6, 0x10, true); // a list of capabilities
    this.config[0x34] = 0x40;
    this.config.set([1, 0, 3, 0, 0, 0, 0, 0], 0x40); // power management
    this.host.files.set(BAR_FD, 0x2000);
  }

  /** The requests of a command. */
  of(command: number): Message[] {
    return this.requests.filter((request) => request.command === command);
  }

  /** What it sends for a message; null: it takes nothing any more. */
  answer(message: Message): readonly Message[] | null {
    this.requests.push(message);
    const answer = this.override?.(message);
    return answer === undefined ? this.own(message) : answer;
  }

  private own(message: Message): readonly Message[] {
    const { body, command } = message;
    switch (command) {
      case Command.VERSION: {
        const descriptors = this.twin ? [50] : [];
        const version = writeVersion(2, {
          maxMessageDescriptors: 2,
          ...(this.twin ? { twinSocket: true, twinIndex: 0 } : {}),
        });
        return [reply(message, { body: version, descriptors })];
      }
      case Command.DEVICE_GET_INFO:
        return [reply(message, { body: words(DeviceInfo.end.num_irqs, [16, 3, 9, 5]) })];
      case Command.DEVICE_GET_REGION_INFO:
        return [this.region(message)];
      case Command.DEVICE_GET_IRQ_INFO: {
        const index = u32(body, IrqInfo.at.index);
        const counts = [1, 0, 3, 1, 1];
        const flags = index === 0 ? this.intxFlags : 1;
        return [reply(message, { body: words(16, [16, flags, index, counts[index]!]) })];
      }
      case Command.REGION_READ: {
        const at = u64(body, 0);
        const bytes = u32(body, 8) === 7 ? this.config : this.bar;
        const data = bytes.slice(at, at + u32(body, 12));
        return [reply(message, { body: Uint8Array.from([...body, ...data]) })];
      }
      case Command.REGION_WRITE:
        return [this.write(message)];
      case Command.DMA_UNMAP:
        return [reply(message, { body })];
      default:
        return [reply(message)];
    }
  }

  private region(message: Message): Message {
    const index = u32(message.body, RegionInfo.at.index);
    const argsz = u32(message.body, 0);
    if (index === 7) return reply(message, { body: info(32, 3, 7, 0, 256, 0) });
    if (index !== 0) return reply(message, { body: info(32, 0, index, 0, 0, 0) });
    if (argsz < 64) return reply(message, { body: info(64, 7, 0, 0, BAR_BYTES, 0x1000) });
    const caps = words(32, [0x0001_0001, 0, 1, 0, 0x1000, 0, 0x1000, 0]);
    const body = Uint8Array.from([...info(64, 15, 0, 32, BAR_BYTES, 0), ...caps]);
    return reply(message, { body, descriptors: [this.barFd] });
  }

  private write(message: Message): Message {
    const { body } = message;
    const at = u64(body, 0);
    const data = body.subarray(16);
    if (u32(body, 8) !== 7) this.bar.set(data, at);
    // As libvfio-user has it: the command register is 2 bytes, or it is refused.
    else if (at === 4 && data.length === 2) this.config.set(data, at);
    else if (at >= 0x10) this.config.set(data, at);
    else return refusal(message, Errno.EINVAL, body.slice(0, 16));
    return reply(message, { body: body.slice(0, 16) });
  }
}

export function words(bytes: number, values: readonly number[]): Uint8Array {
  const body = new Uint8Array(bytes);
  const view = new DataView(body.buffer);
  for (const [index, value] of values.entries()) view.setUint32(4 * index, value, true);
  return body;
}

function info(
  argsz: number,
  flags: number,
  index: number,
  capabilities: number,
  size: number,
  offset: number,
): Uint8Array {
  return words(32, [argsz, flags, index, capabilities, size, 0, offset, 0]);
}

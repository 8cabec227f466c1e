/** What a device in another process needs of the run around it. */
import type { AddressSpace } from '../../mm/address-space.js';
import type { DmaBuffer } from '../../mm/frame-memory.js';
import type { MessageHead } from '../../vfio-user/header.js';
import type { MessageFault } from '../../vfio-user/message-reader.js';

/** A connection to a vfio-user server, which carries messages with descriptors. */
export interface Channel {
  /** The header of the message that `receive` has completed. */
  readonly head: MessageHead & { readonly fault: MessageFault };
  /** Its body. */
  readonly body: Uint8Array;
  /** Where bodies begin: of what came, and of what goes. */
  readonly received: DmaBuffer;
  readonly outgoing: DmaBuffer;
  /** Descriptors that came with it; those that nobody takes out are closed. */
  readonly descriptors: number[];
  /** Takes what has come; 'message' where that completes one. */
  receive(): 'message' | 'waiting' | 'closed';
  /**
   * Sends the first `bodyBytes` of `outgoing`. `wait` is called where there is no room and says
   * whether to go on. False: the connection is of no use any more.
   */
  send(
    head: MessageHead,
    bodyBytes: number,
    descriptors: readonly number[],
    wait: () => boolean,
  ): boolean;
  close(): void;
}

/** An eventfd that is given away. */
export interface PeerEvent {
  readonly fd: number;
  close(): void;
}

/** Memory of the program as a file. */
export interface MemoryFile {
  readonly fd: number;
  /** Where it begins in the file, in bytes. */
  readonly offset: number;
  /** The same for the same place of the same file. */
  readonly place: string;
}

export interface PeerHost {
  /** Connects to who listens at a path. Throws an Error with a message for the user. */
  connect(path: string): Channel;
  /** Over a descriptor of a socket, which it owns from now on. */
  channel(fd: number): Channel;
  nowMs(): number;
  /**
   * Returns when something has come on one of the channels, or there is room in `full`, or at
   * `untilMs`. Where that takes longer the program is served meanwhile, but for its calls on VFIO's
   * files; false: it has ended meanwhile. Throws where the run must end.
   */
  wait(channels: readonly Channel[], full: Channel | null, untilMs: number): boolean;
  /** Calls back while something has come on a channel, until the returned function is called. */
  watch(channel: Channel, readable: () => void): () => void;
  /** Calls back each time somebody signals the eventfd. */
  makeEvent(signalled: () => void): PeerEvent;
  /** Bytes of a regular file; -1: it is something else. */
  fileBytes(fd: number): number;
  closeFile(fd: number): void;
  /**
   * Pages [first, first + count) of a memory as those of one file, which is shared and may be
   * accessed as `permission` says; null: they are none, or it cannot be had.
   */
  fileOf(mm: AddressSpace, first: number, count: number, permission: number): MemoryFile | null;
  /** A file in which a memory can be read and written at its addresses; null: it cannot be had. */
  memoryOf(mm: AddressSpace): MemoryFile | null;
}

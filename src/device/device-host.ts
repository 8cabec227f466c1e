import type { AllocateDma, DmaBuffer, FrameMemory } from '../mm/frame-memory.js';
import type { BlockStore } from './block-store.js';
import type { DeviceFaults } from './faults.js';
import type { Impairment } from './impaired-port.js';
import type { RecordedModel } from './recorded/function.js';
import type { PeerHost } from './vfio-user/host.js';

export interface BlockFileOptions {
  /** The file is made, or grown to this size in bytes; null: its own size counts. */
  readonly bytes: number | null;
  /** It is only read; others may read it at the same time. */
  readonly readOnly: boolean;
}

/** A network that a device is joined to. Neither call waits. */
export interface NetworkPort {
  /** Sends the Ethernet frame at [offset, offset + length) of the buffer; it may be lost. */
  send(buffer: DmaBuffer, offset: number, length: number): void;
  /**
   * Puts the next frame at `offset` of the buffer, cut to `room` bytes; returns its length, 0 where
   * none waits.
   */
  receive(buffer: DmaBuffer, offset: number, room: number): number;
}

/** Takes a copy of each frame that a card has sent, or got. */
export type FrameCapture = (
  frames: Uint8Array,
  offset: number,
  length: number,
  isSent: boolean,
) => void;

/** What a device gets from the run around it. */
export interface DeviceHost {
  /**
   * False: accesses to a mapped BAR cannot reach a device, so that programs are told to map only
   * what is plain memory.
   */
  readonly traps?: boolean;
  /**
   * True: a device must not look at its mapped registers now, because who answers its DMA waits for
   * something else. Absent: it may always.
   */
  readonly holdsBack?: () => boolean;
  /** The memory that translated DMA reaches. */
  readonly frames: FrameMemory;
  readonly allocate: AllocateDma;
  /**
   * Zeroed memory of a mappable region of this function, shared with the program that maps it:
   * offset 0 of the buffer is offset 0 of the region. Asked for once per region, when the function
   * is made.
   */
  regionMemory(index: number, bytes: number): DmaBuffer;
  /**
   * The frame of a region's first page, for DMA that stays within the device. Absent where a run
   * has no such frames.
   */
  readonly frameOf?: (buffer: DmaBuffer) => number;
  /**
   * Opens a file as a disk. Throws an Error with a message for the user. Absent where a run has no
   * files.
   */
  readonly openBlockFile?: (path: string, options: BlockFileOptions) => BlockStore;
  /**
   * Joins a Linux tap. Throws an Error with a message for the user. Absent where a run has no
   * network.
   */
  readonly openTap?: (name: string) => NetworkPort;
  /**
   * Joins the wire of this name, which devices of the run share; `unix:FOLDER`, which other runs
   * share, too. Throws an Error with a message for the user. Absent where a run has no network.
   */
  readonly openLink?: (name: string) => NetworkPort;
  /** Puts a line that loses frames, or takes time, before a network. Absent: there is no clock. */
  readonly impair?: (network: NetworkPort, impairment: Impairment) => NetworkPort;
  /** Opens the capture of a card of this name. Absent: nobody captures. */
  readonly openCapture?: (name: string) => FrameCapture;
  /**
   * Reads a recorded device from a file. Throws an Error with a message for the user. Absent where
   * a run has no files.
   */
  readonly openModel?: (path: string) => RecordedModel;
  /** Other processes, which have devices. Absent: a run has none. */
  readonly peers?: PeerHost;
  /** Time of the run in microseconds: live, or virtual. Absent: it stands still. */
  readonly nowUs?: () => number;
  /** Takes a line for the user. Absent: nobody reads it. */
  readonly note?: (line: string) => void;
  /** Faults on purpose. Absent: none. */
  readonly faults?: DeviceFaults;
}

import type { DmaBuffer } from '../../mm/frame-memory.js';
import type { DmaList } from '../dma-list.js';
import type { DmaPort } from '../dma-port.js';
import { Side } from '../own-memory.js';
import { SQE_SGL } from './command.js';
import { Prp } from './prp.js';
import { Sgl } from './sgl.js';
import { Status } from './status.js';

/**
 * A command's data pointer: PRPs or an SGL, as its first word says. `prefetch` for all commands of
 * a batch, then `resolve` and `append` for each.
 */
export class DataPointer {
  private readonly prp: Prp;
  private readonly sgl: Sgl;
  private isSgl = false;

  /** `lists`: PAGE_SIZE bytes for each command of a batch. */
  constructor(
    private readonly port: DmaPort,
    lists: DmaBuffer,
  ) {
    this.prp = new Prp(port, lists);
    this.sgl = new Sgl(port, lists);
  }

  /** Adds the fetch of a command's list of places, if it has one, to `fetches`, with its slot. */
  prefetch(command: Uint32Array, at: number, length: number, slot: number, fetches: DmaList): void {
    if ((command[at]! & SQE_SGL) !== 0) this.sgl.prefetch(command, at, slot, fetches);
    else this.prp.prefetch(command, at, length, slot, fetches);
  }

  /**
   * Finds the places of `length` bytes (1 to TRANSFER_BYTES) that the command reads from the host
   * or writes there. Returns a status.
   */
  resolve(
    command: Uint32Array,
    at: number,
    length: number,
    slot: number,
    isFromHost: boolean,
  ): number {
    this.isSgl = (command[at]! & SQE_SGL) !== 0;
    const status = this.isSgl
      ? this.sgl.resolve(command, at, length, slot, isFromHost)
      : this.prp.resolve(command, at, length, slot);
    if (status !== Status.SUCCESS || !this.port.own.isThere) return status;
    // CMBLOC.CDMMMS is 0: data does not lie in the buffer and outside.
    const sides = this.isSgl ? this.sgl.sides : this.prp.sides;
    return sides === Side.BOTH ? Status.INVALID_USE_OF_CMB : status;
  }

  /** Adds [skip, skip + length) of the resolved data to a list, from or to a buffer. */
  append(
    list: DmaList,
    skip: number,
    length: number,
    buffer: DmaBuffer,
    bufferOffset: number,
    tag: number,
  ): void {
    if (this.isSgl) this.sgl.append(list, skip, length, buffer, bufferOffset, tag);
    else this.prp.append(list, skip, length, buffer, bufferOffset, tag);
  }
}

import type { VfioFile } from '../../file/file.js';
import type { Bus } from './x64/processor.js';

/** The way to a device's registers: accesses of 1, 2, 4 and 8 bytes to a place in its file. */
export class DeviceBus implements Bus {
  readonly words = new Uint32Array(2);
  /** The device does not answer: its memory is switched off. */
  failed = false;
  private file: VfioFile | null = null;
  private offset = 0;
  /** The first 1, 2, 4 and 8 bytes of `words`, by their number. */
  private readonly bytes = Array.from(
    { length: 9 },
    (_, size) => new Uint8Array(this.words.buffer, 0, size),
  );

  /** Offset 0 of what follows is `offset` of the device's file. */
  point(file: VfioFile, offset: number): void {
    this.file = file;
    this.offset = offset;
    this.failed = false;
  }

  read(offset: number, size: number): void {
    this.words[0] = this.words[1] = 0;
    if (this.file!.load!(this.offset + offset, this.bytes[size]!)) return;
    this.bytes[size]!.fill(0xff);
    this.failed = true;
  }

  write(offset: number, size: number): void {
    if (!this.file!.store!(this.offset + offset, this.bytes[size]!)) this.failed = true;
  }
}

/** A driver of QEMU's `edu` device, as far as its DMA engine goes (QEMU, docs/specs/edu). */
import type { VfioClient } from './vfio.js';

const BAR = 0;
const IDENTIFICATION = 0x00;
const DMA_SOURCE = 0x80;
const DMA_DESTINATION = 0x88;
const DMA_COUNT = 0x90;
const DMA_COMMAND = 0x98;
const START = 1;
const FROM_DEVICE = 2;
/** Where the engine sees the device's own buffer of 4 KiB. */
const BUFFER = 0x40000;

export class EduDriver {
  constructor(private readonly vfio: Pick<VfioClient, 'readRegion' | 'writeRegion'>) {
    const identification = vfio.readRegion(BAR, IDENTIFICATION, 4);
    if ((identification & 0xffff) !== 0x00ed)
      throw new Error(`no edu device: identification 0x${identification.toString(16)}`);
  }

  /** Lets the device copy up to 4096 bytes from one I/O virtual address to another. */
  copy(source: number, destination: number, length: number): void {
    this.load(source, length);
    this.store(destination, length);
  }

  /** Memory to the device's buffer. */
  load(source: number, length: number): void {
    this.beginLoad(source, length);
    this.finish();
  }

  /** The device's buffer to memory. */
  store(destination: number, length: number): void {
    this.beginStore(destination, length);
    this.finish();
  }

  /** Starts a `load`; `busy` until it is over. */
  beginLoad(source: number, length: number): void {
    this.begin(source, BUFFER, length, START);
  }

  beginStore(destination: number, length: number): void {
    this.begin(BUFFER, destination, length, START | FROM_DEVICE);
  }

  get busy(): boolean {
    return (this.vfio.readRegion(BAR, DMA_COMMAND, 4) & START) !== 0;
  }

  private finish(): void {
    while (this.busy);
  }

  private begin(source: number, destination: number, length: number, command: number): void {
    const { vfio } = this;
    vfio.writeRegion(BAR, DMA_SOURCE, 8, source);
    vfio.writeRegion(BAR, DMA_DESTINATION, 8, destination);
    vfio.writeRegion(BAR, DMA_COUNT, 8, length);
    vfio.writeRegion(BAR, DMA_COMMAND, 8, command);
  }
}

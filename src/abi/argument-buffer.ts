/**
 * The bytes of one ioctl argument while a call works on them: fixed, reused, read without BigInt.
 *
 * A 64-bit field is read as a page number and the bytes below a page, which together are exact;
 * `u64` rounds above 2^53.
 */
export class ArgumentBuffer {
  readonly bytes: Uint8Array;
  private readonly view: DataView;
  private readonly prefixes = new Map<number, Uint8Array>();

  /** `capacity` in bytes. */
  constructor(readonly capacity: number) {
    this.bytes = new Uint8Array(capacity);
    this.view = new DataView(this.bytes.buffer);
  }

  /** The first `length` bytes, always the same object for a length. */
  prefix(length: number): Uint8Array {
    if (length === this.capacity) return this.bytes;
    let prefix = this.prefixes.get(length);
    if (!prefix) {
      prefix = this.bytes.subarray(0, length);
      this.prefixes.set(length, prefix);
    }
    return prefix;
  }

  u32(offset: number): number {
    return this.view.getUint32(offset, true);
  }

  s32(offset: number): number {
    return this.view.getInt32(offset, true);
  }

  setU32(offset: number, value: number): void {
    this.view.setUint32(offset, value, true);
  }

  /** 64 bits as a double: exact below 2^53, else rounded. */
  u64(offset: number): number {
    return this.view.getUint32(offset + 4, true) * 2 ** 32 + this.view.getUint32(offset, true);
  }

  u16(offset: number): number {
    return this.view.getUint16(offset, true);
  }

  /** 64 bits, exact: where bytes of addresses above 2^53 count. */
  big(offset: number): bigint {
    return this.view.getBigUint64(offset, true);
  }

  setBig(offset: number, value: bigint): void {
    this.view.setBigUint64(offset, value, true);
  }

  /** A whole number below 2^53. */
  setU64(offset: number, value: number): void {
    this.view.setUint32(offset, value % 2 ** 32, true);
    this.view.setUint32(offset + 4, Math.floor(value / 2 ** 32), true);
  }

  /** The 4 KiB page number of a 64-bit address or size, always exact (0 to 2^52 - 1). */
  pages(offset: number): number {
    return (
      this.view.getUint32(offset + 4, true) * 2 ** 20 + (this.view.getUint32(offset, true) >>> 12)
    );
  }

  /** The bytes of a 64-bit address or size below a page: 0 to 4095. */
  inPage(offset: number): number {
    return this.view.getUint32(offset, true) & 4095;
  }

  /** A 64-bit address or size of this many pages; 2^52 pages read as 0, as 64 bits wrap. */
  setPages(offset: number, pages: number): void {
    this.view.setUint32(offset, (pages % 2 ** 20) * 4096, true);
    this.view.setUint32(offset + 4, Math.floor(pages / 2 ** 20) % 2 ** 32, true);
  }
}

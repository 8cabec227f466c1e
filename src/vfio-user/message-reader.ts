/**
 * Finds messages in a stream of bytes, however they are cut.
 *
 * It asks for the rest of the header or of the body and for no byte more: descriptors that come
 * with bytes belong to their message then. A size that cannot be leaves the stream in step: a body
 * that is too long is read and dropped.
 */
import { HEADER_BYTES, Header } from './structs.js';

/** What is wrong with a message, before anybody looks at its body. */
export type MessageFault = 'none' | 'size below a header' | 'size above the limit';

export class MessageReader {
  /** How many bytes are wanted next, and where they go. */
  wanted = HEADER_BYTES;
  at = 0;
  fault: MessageFault = 'none';
  private readonly view: DataView;
  /** Of a body that is too long: bytes behind those that are wanted now. */
  private left = 0;
  private isDropping = false;
  private hasHeader = false;

  /** Messages are put into `bytes`, and must fit. */
  constructor(private readonly bytes: Uint8Array) {
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  /** So many of the bytes that were wanted have come. True: that completes a message. */
  received(count: number): boolean {
    this.at += count;
    this.wanted -= count;
    if (this.wanted > 0) return false;
    if (!this.isDropping) return this.hasHeader || this.begin();
    this.goOn();
    return false;
  }

  /** Forgets the message that is complete; the next one begins. */
  next(): void {
    this.hasHeader = false;
    this.fault = 'none';
    this.goOn();
  }

  /** A message has begun to come, and is not there yet. */
  get isInside(): boolean {
    return this.at > 0 || this.hasHeader || this.isDropping;
  }

  get id(): number {
    return this.view.getUint16(Header.at.id, true);
  }

  get command(): number {
    return this.view.getUint16(Header.at.command, true);
  }

  /** Header and body, in bytes, as the message says. */
  get size(): number {
    return this.view.getUint32(Header.at.size, true);
  }

  get flags(): number {
    return this.view.getUint32(Header.at.flags, true);
  }

  get error(): number {
    return this.view.getUint32(Header.at.error, true);
  }

  /** Bytes of the body; none where the message has a fault. */
  get bodyBytes(): number {
    return this.fault === 'none' ? this.size - HEADER_BYTES : 0;
  }

  private begin(): boolean {
    const { size } = this;
    this.hasHeader = true;
    if (size < HEADER_BYTES) {
      this.fault = 'size below a header';
      return true;
    }
    this.wanted = size - HEADER_BYTES;
    if (size <= this.bytes.length) return this.wanted === 0;
    this.fault = 'size above the limit';
    this.left = this.wanted;
    return true;
  }

  /** Drops what is left, a buffer at a time; behind it comes a header. */
  private goOn(): void {
    this.at = 0;
    this.wanted = Math.min(this.left, this.bytes.length);
    this.left -= this.wanted;
    this.isDropping = this.wanted > 0;
    if (!this.isDropping) this.wanted = HEADER_BYTES;
  }
}

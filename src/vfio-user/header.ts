import { Header } from './structs.js';

/** What a header says, but for the message's size. */
export interface MessageHead {
  readonly id: number;
  readonly command: number;
  readonly flags: number;
  /** An errno, where the flags have ERROR. */
  readonly error: number;
}

/** Writes a header for a body of so many bytes at the start of `view`. */
export function writeHeader(view: DataView, head: MessageHead, bodyBytes: number): void {
  view.setUint16(Header.at.id, head.id, true);
  view.setUint16(Header.at.command, head.command, true);
  view.setUint32(Header.at.size, Header.size + bodyBytes, true);
  view.setUint32(Header.at.flags, head.flags, true);
  view.setUint32(Header.at.error, head.error, true);
}

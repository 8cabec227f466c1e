/** What this model does at most; what a program asks beyond it is dropped. */

/** A frame that is received; RLPML has 14 bits. */
export const FRAME_MOST = 0x3fff;
/** A packet of one or more transmit descriptors: PAYLEN has 18 bits, headers come beside. */
export const PACKET_MOST = 2 ** 18 + 1024;
/** Frames that one packet is cut to. */
export const SEGMENTS_MOST = 4096;
/** The shortest frame without its checksum; shorter ones are filled up with zeros. */
export const FRAME_LEAST = 60;
/** Bytes before a frame in a buffer, for a tag, and behind it, for its checksum. */
export const HEADROOM = 16;
export const TAILROOM = 16;
/** Descriptors that are looked at in one go. */
export const BATCH = 64;
/** Packets on their way from memory, and segments on their way out. */
export const STAGING_BYTES = 2 ** 20;
/** Batches of one queue before the others get their turn. */
export const BATCHES_PER_TURN = 4;
/** Pieces of a DMA list. */
export const LIST_PIECES = 4096;

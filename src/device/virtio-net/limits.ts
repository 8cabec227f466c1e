/** What this network card can do at most. */

/** struct virtio_net_hdr with num_buffers, in front of every frame (5.1.6). */
export const HEADER_BYTES = 12;
/** The same of a legacy driver that does not merge buffers: without num_buffers. */
export const LEGACY_HEADER_BYTES = 10;
export const NUM_BUFFERS = 10;
/**
 * Frames: an Ethernet header, to the largest MTU behind one with a VLAN tag. Others are dropped.
 */
export const FRAME_LEAST = 14;
export const FRAME_MOST = 65535 + 18;
/** Frames that are moved in one go, and room for their bytes. */
export const BATCH_FRAMES = 64;
export const STAGING_BYTES = 2 ** 20;
/** Pairs of a receive and a transmit queue. */
export const PAIRS = 8;
/** Pieces of a DMA list. */
export const LIST_PIECES = 4096;

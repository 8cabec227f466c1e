/** What this controller can do at most. All of it is told to the host in CAP and Identify. */

/** I/O queue pairs. */
export const IO_QUEUES = 64;
/** Admin queue's vector and one for each I/O queue. */
export const MSIX_VECTORS = IO_QUEUES + 1;
/** Entries of a queue (CAP.MQES is one less). */
export const QUEUE_ENTRIES = 2048;
/** Pages of the 64-bit address space. */
export const ADDRESS_PAGES = 2 ** 52;
/** Bytes that a command transfers: 2^MDTS pages of 4 KiB. */
export const MDTS = 7;
export const TRANSFER_BYTES = 2 ** MDTS * 4096;
/** Pages of memory that a transfer can touch. */
export const TRANSFER_PAGES = TRANSFER_BYTES / 4096 + 1;
/** Descriptors of an SGL. More are Invalid Number of SGL Descriptors. */
export const SGL_DESCRIPTORS = 1024;
/**
 * Pieces, each within a page, that a transfer falls into at most: each descriptor may add one more
 * at its end, and the disk's chunks one.
 */
export const TRANSFER_PIECES = TRANSFER_PAGES + 2 * SGL_DESCRIPTORS + 1;
/** Blocks that a source range of Copy, and all of them, may have (MSSRL, MCL). */
export const COPY_BLOCKS = 128;
/** Source ranges of Copy. */
export const COPY_RANGES = 128;
/** Commands that are fetched and completed in one go. */
export const BATCH_COMMANDS = 64;
/** Asynchronous event requests that may be outstanding, and events that are remembered for them. */
export const EVENT_REQUESTS = 4;
/** Abort commands at once; each is over when it is answered. */
export const ABORTS = 4;
/** Error information log entries. */
export const ERROR_ENTRIES = 64;

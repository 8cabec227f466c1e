/**
 * Numbers of the vfio-user protocol, version 0.2 (docs/interop/vfio-user.rst of QEMU), and of what
 * libvfio-user adds to it.
 *
 * Terms: the *server* has the device, the *client* uses it. A *message* is a header and a body; it
 * is a *command* or the *reply* to one. The *twin socket* is a second one, for what the server
 * asks.
 */

export const Command = {
  VERSION: 1,
  DMA_MAP: 2,
  DMA_UNMAP: 3,
  DEVICE_GET_INFO: 4,
  DEVICE_GET_REGION_INFO: 5,
  DEVICE_GET_REGION_IO_FDS: 6,
  DEVICE_GET_IRQ_INFO: 7,
  DEVICE_SET_IRQS: 8,
  REGION_READ: 9,
  REGION_WRITE: 10,
  DMA_READ: 11,
  DMA_WRITE: 12,
  DEVICE_RESET: 13,
  REGION_WRITE_MULTI: 15,
  DEVICE_FEATURE: 16,
  MIG_DATA_READ: 17,
  MIG_DATA_WRITE: 18,
} as const;

export const VERSION_MAJOR = 0;
export const VERSION_MINOR = 2;

/** Fields of a header's flags. */
export const TYPE_MASK = 0xf;
export const TYPE_COMMAND = 0;
export const TYPE_REPLY = 1;
export const MessageFlag = {
  /** Of a command: no reply is wanted, not even of an error. */
  NO_REPLY: 0x10,
  /** Of a reply: `error` is an errno. */
  ERROR: 0x20,
} as const;

/** What most peers take as data of one message, and what counts where a peer names no limit. */
export const TRANSFER_BYTES = 2 ** 20;
/** Before the data of a region or DMA access there are so many bytes: see structs.ts. */
export const ACCESS_BYTES = 16;
/** The largest body: an access with all the data that it may have. */
export const BODY_BYTES = TRANSFER_BYTES + ACCESS_BYTES;

/** Bits of DMA_MAP. */
export const UserDmaFlag = {
  READ: 1,
  WRITE: 2,
  /** libvfio-user: the descriptor is to be mapped. */
  MMAP: 4,
  /** libvfio-user: the descriptor is to be read and written (/proc/PID/mem). */
  FILE_IO: 8,
} as const;

/** Bits of DMA_UNMAP. */
export const UserUnmapFlag = { GET_DIRTY_BITMAP: 1, ALL: 2 } as const;

const names = new Map<number, string>(
  Object.entries(Command).map(([name, number]) => [number, name]),
);

/** `DMA_MAP`, or `command N` for one that nobody has defined. */
export const commandName = (command: number): string => names.get(command) ?? `command ${command}`;

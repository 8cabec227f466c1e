/**
 * Where the specification, libvfio-user (efd091bc), QEMU (11.1.3) and rust-vmm's crate vfio-user
 * (Cloud Hypervisor, usbvfiod) differ, or leave something open, and what iopf does.
 * docs/vfio-user.md shows this table; the recorded exchanges that are answered differently each
 * name their row (test/serve/recorded-exchanges.test.ts).
 */

export interface Quirk {
  /** How tests and comments name it. */
  readonly id: string;
  /** What others do. */
  readonly others: string;
  readonly iopf: string;
}

export const quirks: readonly Quirk[] = [
  {
    id: 'one-send',
    others: 'libvfio-user refuses a body that is not in the socket with its header (EINVAL)',
    iopf: 'waits for the body, and itself sends both in one call',
  },
  {
    id: 'oversize',
    others: 'libvfio-user reads the body of a message above its limit as headers',
    iopf: 'answers EINVAL and drops so many bytes as the header says',
  },
  {
    id: 'error-body',
    others: 'libvfio-user sends the body of some replies along with an error',
    iopf: 'sends a header alone, and takes a body',
  },
  {
    id: 'error-type',
    others:
      "rust-vmm's server, until April 2026, sends errors as commands, often with the number 0",
    iopf: 'takes them for the refusal of what was asked; 0 is EIO',
  },
  {
    id: 'unknown',
    others:
      "rust-vmm's server loses step at commands that it does not know, and never asks for memory",
    iopf: 'asks for nothing optional; says once that a mapping without a file is refused',
  },
  {
    id: 'json',
    others: 'libvfio-user takes comments, single quotes, and max_msg_fds modulo 2^32',
    iopf: 'takes JSON; anything else is EINVAL',
  },
  {
    id: 'descriptors',
    others: 'QEMU ends where a server announces max_msg_fds above 16; libvfio-user announces 8',
    iopf: 'announces 8, and takes as many as the kernel passes',
  },
  {
    id: 'overlap',
    others: 'an overlapping DMA_MAP is EEXIST in the specification, EINVAL in libvfio-user',
    iopf: 'EEXIST; to its client a mapping that is refused is one line',
  },
  {
    id: 'page-aligned',
    others: 'libvfio-user maps any address, offset and size, 0 and what wraps among them',
    iopf: 'EINVAL for what is not in whole pages, is empty, or lies beyond 48 bits',
  },
  {
    id: 'map-limit',
    others: "libvfio-user's devices set a limit to the number of regions",
    iopf: '65,535 regions, as the specification has it',
  },
  {
    id: 'no-dma',
    others: 'a libvfio-user device without DMA takes every DMA_MAP and DMA_UNMAP',
    iopf: 'every device has DMA',
  },
  {
    id: 'quiesce',
    others: 'a libvfio-user device may be asked to be quiet before a request, and refuse',
    iopf: 'devices are always quiet between requests',
  },
  {
    id: 'callback',
    others: "a libvfio-user device's callback may fail, or be set up while it is served",
    iopf: 'an access to a region always succeeds; devices are made once',
  },
  {
    id: 'config',
    others: 'libvfio-user refuses writes to read-only config space (EINVAL, EPERM), keeps it',
    iopf: 'as vfio-pci: such writes have no effect; each client finds it as the first did',
  },
  {
    id: 'io-fds',
    others: 'entries of GET_REGION_IO_FDS have 40 bytes, or 48 in libvfio-user',
    iopf: 'no device has any; its doorbells are mapped instead',
  },
  {
    id: 'shared-eventfds',
    others: 'INTx, MSI and MSI-X share one table of eventfds in libvfio-user',
    iopf: 'each has its own',
  },
  {
    id: 'pin-level',
    others: 'INTx is signalled once, and neither side of libvfio-user and QEMU masks it',
    iopf: 'it is signalled again every 50 ms while the pin is up; MASK holds that back',
  },
  {
    id: 'write-count',
    others: 'an answer to DMA_WRITE has a count of 4 bytes in the specification, else of 8',
    iopf: 'takes both, and sends 8',
  },
  {
    id: 'crossing',
    others: 'libvfio-user takes a request that crosses its DMA_READ for the answer (EPROTO)',
    iopf: 'carries it out afterwards, or at once where the client may wait for it',
  },
  {
    id: 'large-answer',
    others: "QEMU sends an answer to DMA_READ once: what its socket's buffer does not take is lost",
    iopf: 'asks for at most 64 KiB at once',
  },
  {
    id: 'posted',
    others: 'QEMU answers no DMA_READ or DMA_WRITE while a vCPU waits for a reply',
    iopf: 'answers a REGION_WRITE before its device asks by messages',
  },
  {
    id: 'migration',
    others: 'libvfio-user devices may migrate: DEVICE_FEATURE 1 and 2, MIG_DATA_READ, _WRITE',
    iopf: 'none does: EINVAL, as libvfio-user without migration',
  },
  {
    id: 'logging',
    others: 'libvfio-user logs with migration only, by any page size, and keeps it over clients',
    iopf: 'every device logs; pages are a power of two from 4 KiB; it ends with the client',
  },
  {
    id: 'logging-range',
    others:
      'libvfio-user reports from the start of a region shared by descriptor (ENOTSUP, EINVAL)',
    iopf: 'reports any range of pages, of every region',
  },
  {
    id: 'bitmap',
    others: 'libvfio-user sends memory that it did not clear, or hangs, for some page sizes',
    iopf: 'the bitmap is cleared first, and the work bounded by it',
  },
  {
    id: 'fixed-part',
    others: 'libvfio-user sends REGION_READ of 1 MiB, but cannot take REGION_WRITE of it',
    iopf: 'both',
  },
  {
    id: 'multi',
    others: 'libvfio-user refuses REGION_WRITE_MULTI; QEMU sends it where it was announced',
    iopf: 'takes it, and does not announce it: see posted',
  },
  {
    id: 'argsz',
    others: 'libvfio-user sends a descriptor of a region only where its areas fit into argsz',
    iopf: 'asks again with as much room as the first answer says',
  },
  {
    id: 'config-width',
    others: 'libvfio-user finds a register of config space by its first byte, at any width',
    iopf: 'writes command, BARs and ROM whole, and lets go what is refused',
  },
  {
    id: 'file-io',
    others: 'FILE_IO is of libvfio-user alone, since June 2026; others refuse it (EINVAL)',
    iopf: 'takes it; offers it for memory that cannot fault, else sends messages',
  },
  {
    id: 'twin',
    others: 'QEMU never asks for a second socket, libvfio-user makes one where it is asked',
    iopf: 'asks for one, so that nothing crosses',
  },
];

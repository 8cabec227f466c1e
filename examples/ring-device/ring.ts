/** A copy engine: a ring of {u64 source, u64 target, u32 length, u32 status} in memory. */
import { defineDevice } from 'iopf/device';

const DESCRIPTOR = 24;
const COPY_MOST = 65536;
const Status = { DONE: 1, REFUSED: 2 } as const;

export const ring = defineDevice({
  name: 'ring',
  summary: 'copies memory, as a ring of descriptors says',
  options: {
    entries: { about: 'descriptors that a ring has at most', type: 'number', default: 256 },
  },
  points: {
    short: { event: 'a descriptor that is fetched', fault: 'its last byte is not copied' },
    status: {
      event: 'a descriptor that is fetched',
      fault: 'it is not copied; its status is NUMBER',
      takes: 'number',
      sweep: [0, Status.REFUSED],
    },
  },
  vendor: 0x1234,
  device: 0xd0d0,
  classCode: 0x088000,
  msix: { vectors: 1, bar: 0, table: 0x2000, pending: 0x3000 },
  bars: [
    {
      index: 0,
      size: 0x4000,
      open: [{ offset: 0x1000, size: 0x1000 }],
      registers: [
        { name: 'RING_LOW', offset: 0x00, about: 'IOVA of the ring, in bytes' },
        { name: 'RING_HIGH', offset: 0x04 },
        { name: 'ENTRIES', offset: 0x08, about: 'descriptors of the ring' },
        { name: 'HEAD', offset: 0x0c, rule: 'ro', about: 'descriptors that are done' },
        { name: 'EVENTS', offset: 0x10, rule: 'rc', about: 'since it was read: 1 done, 2 refused' },
      ],
    },
  ],
  create({ allocate, dma, fault, interrupts, memory, registers }, { entries }) {
    const doorbell = memory(0).view;
    const descriptor = allocate(DESCRIPTOR);
    const data = allocate(COPY_MOST);
    const addressAt = (offset: number) => Number(descriptor.view.getBigUint64(offset, true));
    function transfer(length: number): number {
      const isCopied =
        dma.read(addressAt(0), length, data) && dma.write(addressAt(8), length, data);
      return isCopied ? Status.DONE : Status.REFUSED;
    }
    function copy(address: number): number {
      if (!dma.read(address, DESCRIPTOR, descriptor)) return Status.REFUSED;
      const asked = Math.min(descriptor.view.getUint32(16, true), COPY_MOST);
      const length = fault('short') ? Math.max(0, asked - 1) : asked;
      const status = fault('status') ?? transfer(length);
      descriptor.view.setUint32(20, status, true);
      dma.write(address + 20, 4, descriptor, 20);
      return status;
    }
    return {
      poll() {
        const head = registers.get('HEAD');
        const count = Math.min(registers.get('ENTRIES'), entries);
        if (doorbell.getUint32(0x1000, true) === head || count === 0 || !dma.enabled) return false;
        const base = registers.get('RING_HIGH') * 2 ** 32 + registers.get('RING_LOW');
        const status = copy(base + (head % count) * DESCRIPTOR);
        registers.set('HEAD', head + 1);
        registers.set('EVENTS', registers.get('EVENTS') | status);
        interrupts.message(0);
        return true;
      },
    };
  },
});

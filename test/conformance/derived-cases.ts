/**
 * Cases in the format of test/vectors that were not recorded: what they expect follows from the
 * kernel's sources and man pages, or was told of recordings that are not here.
 */
import { writeStruct } from '../../src/abi/layout.js';
import { DeviceFeatureFlag, DeviceIoctl, REGION_OFFSET, Type1Ioctl } from '../../src/abi/vfio.js';
import { DmaMap } from '../../src/abi/vfio-structs.js';
import { advices } from '../../src/conformance/memory-step.js';
import {
  type Answer,
  bytesHex,
  readVectors,
  type VectorCase,
  type VectorFile,
  type VectorMemory,
  type VectorStep,
} from '../../src/conformance/vectors.js';

const BUF = '0x100000000000';
const BUF2 = '0x110000000000';
const BAR = '0x400000000000';
const PAGE = 4096;
const CONFIG = 7 * REGION_OFFSET;
const COMMAND = 4;
const DMA_BUF = 11;

type Fields = Omit<VectorStep, keyof Answer> & Partial<Answer>;

/** A step that succeeds unless `fields` say something else. */
function step(fields: Fields): VectorStep {
  return { ret: 0, errno: null, vmPinKb: 0, vmLckKb: 0, ...fields };
}

const refused = (errno: string): Partial<Answer> => ({ ret: -1, errno });

/** Steps of a case, with what is charged from some step on. */
function charged(vmLckKb: number, steps: readonly VectorStep[]): VectorStep[] {
  return steps.map((each) => ({ ...each, vmLckKb }));
}

const openDevice: readonly VectorStep[] = [
  step({ op: 'open', path: '/dev/vfio/vfio', flags: 2, as: 'c0' }),
  step({ op: 'open', path: '/dev/vfio/{g0}', flags: 2, as: 'g0' }),
  step({
    op: 'ioctl',
    fd: 'g0',
    nr: 15208,
    arg: { in: '00000000', fdAt: [[0, 'c0']] },
    out: 'fdfdfdfd',
  }),
  step({ op: 'ioctl', fd: 'c0', nr: 15206, arg: 3 }),
  step({ op: 'ioctl', fd: 'g0', nr: 15210, arg: { str: '{d0}' }, as: 'd0' }),
];

const command = (value: string): VectorStep =>
  step({ op: 'pwrite', fd: 'd0', offset: CONFIG + COMMAND, in: value, ret: 2 });

const mapBar: readonly VectorStep[] = [
  command('0600'),
  step({ op: 'mmap', kind: 'sharedFd', fd: 'd0', addr: BAR, size: PAGE, offset: 0, prot: 'rw' }),
];

function mapDma(vaddr: string, iova: number, flags: number, answer: Partial<Answer>): VectorStep {
  const bytes = writeStruct(DmaMap, {
    argsz: DmaMap.size,
    flags,
    vaddr: BigInt(vaddr),
    iova: BigInt(iova),
    size: BigInt(PAGE),
  });
  const hex = bytesHex(bytes);
  return step({
    op: 'ioctl',
    fd: 'c0',
    nr: Type1Ioctl.VFIO_IOMMU_MAP_DMA,
    arg: { in: hex },
    out: hex,
    ...answer,
  });
}

const copy = (srcIova: number, dstIova: number): VectorStep =>
  step({
    op: 'deviceCopy',
    fd: 'd0',
    srcIova: `${srcIova}`,
    dstIova: `${dstIova}`,
    size: 16,
  });
const fill = (addr: string, byte: number): VectorStep =>
  step({ op: 'fill', addr, size: PAGE, byte });
const peek = (addr: string, out: string, answer: Fields | Partial<Answer> = {}): VectorStep =>
  step({ op: 'peek', addr, size: 4, out, ...answer });
const advise = (advice: keyof typeof advices, addr: string, answer: Partial<Answer> = {}) =>
  step({ op: 'madvise', addr, size: PAGE, advice, adviceNr: advices[advice]!, ...answer });

function feature(flags: number, answer: Partial<Answer>, payload = ''): VectorStep {
  const head = Uint8Array.from(
    new Uint8Array(Uint32Array.of(8 + payload.length / 2, flags).buffer),
  );
  const hex = bytesHex(head) + payload;
  const nr = DeviceIoctl.VFIO_DEVICE_FEATURE;
  return step({ op: 'ioctl', fd: 'd0', nr, arg: { in: hex }, out: hex, ...answer });
}

const memory = (kind: string, more: Partial<VectorMemory> = {}): VectorMemory => ({
  name: 'buf',
  addr: BUF,
  size: PAGE,
  prot: 'rw',
  kind,
  ...more,
});
const target = memory('anon', { name: 'buf2', addr: BUF2, fill: 0 });

function derived(
  name: string,
  why: string,
  memories: readonly VectorMemory[],
  steps: readonly VectorStep[],
  rlimitMemlock: number | null = null,
): VectorCase {
  return { name, why, setup: { memory: memories, rlimitMemlock, capIpcLock: true }, steps };
}

const { VFIO_DEVICE_FEATURE_GET, VFIO_DEVICE_FEATURE_SET, VFIO_DEVICE_FEATURE_PROBE } =
  DeviceFeatureFlag;
const PROBE_GET = VFIO_DEVICE_FEATURE_PROBE | VFIO_DEVICE_FEATURE_GET | DMA_BUF;
const PROBE_SET = VFIO_DEVICE_FEATURE_PROBE | VFIO_DEVICE_FEATURE_SET | DMA_BUF;
const GET = VFIO_DEVICE_FEATURE_GET | DMA_BUF;
const absent = { ...refused('ENOTTY') };
const only72 = (answer: Partial<Answer>) => ({ ...absent, otherKernels: { '7.2': answer } });

const cases: readonly VectorCase[] = [
  derived(
    'bar-decode-off',
    'a BAR that is mapped while memory decoding is off',
    [],
    [
      ...openDevice,
      ...mapBar,
      mapDma(BAR, 0x100000, 3, {}),
      command('0000'),
      mapDma(BAR, 0x200000, 3, refused('EFAULT')),
      command('0600'),
      mapDma(BAR, 0x200000, 1, {}),
    ],
  ),
  derived(
    'dma-buf',
    'VFIO_DEVICE_FEATURE_DMA_BUF',
    [],
    [
      ...openDevice,
      feature(VFIO_DEVICE_FEATURE_PROBE | DMA_BUF, only72({ ret: 0, errno: null })),
      feature(PROBE_GET, only72({ ret: 0, errno: null })),
      feature(PROBE_SET, only72(refused('EINVAL'))),
      feature(VFIO_DEVICE_FEATURE_SET | DMA_BUF, only72(refused('EINVAL'))),
      feature(DMA_BUF, only72(refused('EINVAL'))),
      feature(GET, only72(refused('EINVAL'))),
      // No ranges; flags; a region that is no BAR.
      feature(GET, only72(refused('EINVAL')), '00000000020000000000000000000000'),
      feature(GET, only72(refused('EINVAL')), '00000000020000000100000001000000'),
      feature(GET, only72(refused('ENODEV')), '06000000020000000000000001000000'),
    ],
  ),
  derived(
    'write-only-read',
    'a device reads what is pinned for writing alone',
    [memory('anon', { fill: 0xab }), target],
    [
      ...openDevice,
      ...mapBar,
      mapDma(BUF, 0x100000, 2, { vmLckKb: 4 }),
      ...charged(8, [
        mapDma(BUF2, 0x200000, 3, {}),
        copy(0x100000, 0x200000),
        { ...peek(BUF2, 'abababab'), otherKernels: { '7.2': { out: '00000000' } } },
      ]),
    ],
  ),
  derived(
    'advice-remove',
    'MADV_REMOVE: a hole, and what has none',
    [
      memory('memfd', { fill: 0xab }),
      memory('anon', { name: 'private', addr: BUF2, fill: 1 }),
      memory('memfdPrivate', { name: 'cow', addr: '0x120000000000', fill: 2 }),
    ],
    [
      advise('MADV_REMOVE', BUF),
      peek(BUF, '00000000'),
      advise('MADV_REMOVE', BUF2, refused('EINVAL')),
      peek(BUF2, '01010101'),
      advise('MADV_REMOVE', '0x120000000000', refused('EACCES')),
      advise('MADV_REMOVE', '0x130000000000', refused('ENOMEM')),
    ],
  ),
  derived(
    'advice-free',
    'MADV_FREE: private memory alone',
    [memory('anon', { fill: 0xab }), memory('shared', { name: 'other', addr: BUF2, fill: 1 })],
    [
      advise('MADV_FREE', BUF),
      peek(BUF, 'abababab'),
      advise('MADV_FREE', BUF2, refused('EINVAL')),
      step({ op: 'mlock', addr: BUF, size: PAGE, vmLckKb: 4 }),
      advise('MADV_FREE', BUF, { ...refused('EINVAL'), vmLckKb: 4 }),
      advise('MADV_DONTNEED', BUF, { ...refused('EINVAL'), vmLckKb: 4 }),
    ],
  ),
  derived(
    'advice-hints',
    'advice that changes no page',
    [memory('anon', { fill: 0xab })],
    [
      ...(['MADV_NORMAL', 'MADV_RANDOM', 'MADV_COLD', 'MADV_DONTFORK', 'MADV_DOFORK'] as const).map(
        (advice) => advise(advice, BUF),
      ),
      advise('MADV_POPULATE_WRITE', BUF),
      peek(BUF, 'abababab'),
    ],
  ),
  derived(
    'advice-fork',
    'what a child finds',
    [
      memory('anon', { fill: 0xab }),
      memory('anon', { name: 'wiped', addr: BUF2, fill: 1 }),
      memory('memfdPrivate', { name: 'file', addr: '0x120000000000', fill: 2 }),
      memory('anon', { name: 'again', addr: '0x130000000000', fill: 3 }),
    ],
    [
      advise('MADV_DONTFORK', BUF),
      advise('MADV_WIPEONFORK', BUF2),
      advise('MADV_WIPEONFORK', '0x120000000000', refused('EINVAL')),
      advise('MADV_WIPEONFORK', '0x130000000000'),
      advise('MADV_KEEPONFORK', '0x130000000000'),
      step({ op: 'fork', as: 'p1' }),
      peek(BUF, 'abababab'),
      peek(BUF2, '01010101'),
      peek(BUF2, '00000000', { proc: 'p1', op: 'peek' }),
      peek('0x120000000000', '02020202', { proc: 'p1', op: 'peek' }),
      peek('0x130000000000', '03030303', { proc: 'p1', op: 'peek' }),
      mapDma(BUF, 0x100000, 3, { ...refused('EBADF') }),
    ],
  ),
  derived(
    'by-descriptor',
    'memory that is mapped by its descriptor',
    [
      memory('memfd', { size: 2 * PAGE, fill: 0xab }),
      memory('sharedFd', { name: 'alias', addr: BUF2, fd: '_mbuf', offset: PAGE }),
    ],
    [
      ...openDevice,
      step({ op: 'poke', addr: BUF2, in: '01020304' }),
      peek('0x100000001000', '01020304'),
      step({
        op: 'mmap',
        kind: 'privateFd',
        fd: '_mbuf',
        addr: '0x120000000000',
        size: PAGE,
        offset: PAGE,
        prot: 'rw',
      }),
      step({ op: 'poke', addr: '0x120000000000', in: 'ffffffff' }),
      peek(BUF2, '01020304'),
      step({ op: 'pread', fd: '_mbuf', offset: PAGE, size: 4, ret: 4, out: '01020304' }),
      step({ op: 'memfd', as: 'm0', size: PAGE }),
      step({ op: 'pwrite', fd: 'm0', offset: 8, in: '0a0b', ret: 2 }),
      step({
        op: 'mmap',
        kind: 'sharedFd',
        fd: 'm0',
        addr: BAR,
        size: PAGE,
        offset: 0,
        prot: 'rw',
      }),
      step({ op: 'close', fd: 'm0' }),
      step({ op: 'peek', addr: '0x400000000008', size: 2, out: '0a0b' }),
      mapDma(BAR, 0x100000, 3, { vmLckKb: 4 }),
    ],
  ),
  derived(
    'positions',
    'read and write go on, pread and pwrite do not',
    [],
    [
      ...openDevice,
      command('0600'),
      step({ op: 'read', fd: 'd0', size: 4, ret: 4, out: 'ed000001' }),
      step({ op: 'pread', fd: 'd0', offset: 0, size: 4, ret: 4, out: 'ed000001' }),
      step({ op: 'write', fd: 'd0', in: '78563412', ret: 4 }),
      step({ op: 'pread', fd: 'd0', offset: 4, size: 4, ret: 4, out: '87a9cbed' }),
      step({ op: 'lseek', fd: 'd0', offset: 0, whence: 0, ...refused('ESPIPE') }),
      step({ op: 'dup', fd: 'd0', as: 'd1' }),
      step({ op: 'read', fd: 'd1', size: 4, ret: 4, out: '00000000' }),
      step({ op: 'read', fd: 'c0', size: 4, ...refused('EINVAL'), out: '' }),
      step({ op: 'eventfd', as: 'e0' }),
      step({ op: 'write', fd: 'e0', in: '0500000000000000', ret: 8 }),
      step({ op: 'read', fd: 'e0', size: 4, ...refused('EINVAL'), out: '' }),
      step({ op: 'read', fd: 'e0', size: 8, ret: 8, out: '0500000000000000' }),
      step({ op: 'read', fd: 'e0', size: 8, ...refused('EAGAIN'), out: '' }),
    ],
  ),
  derived(
    'drop-in-the-middle',
    'the limit counts from when CAP_IPC_LOCK is dropped',
    [memory('anon', { size: 4 * PAGE, fill: 0xab })],
    [
      ...openDevice,
      mapDma(BUF, 0x100000, 3, { vmLckKb: 4 }),
      mapDma('0x100000001000', 0x101000, 3, { vmLckKb: 8 }),
      ...charged(8, [
        step({ op: 'dropCapIpcLock' }),
        mapDma('0x100000002000', 0x102000, 3, refused('ENOMEM')),
      ]),
    ],
    PAGE,
  ),
];

/** What a device sees of pages that were pinned for reading before anybody wrote them. */
const pinnedForReading: VectorCase = derived(
  'pinned-unwritten',
  'a page pinned for reading, then written: seen since 6.2',
  [
    memory('anon'),
    target,
    memory('memfdPrivate', { name: 'cow', addr: '0x120000000000', fill: 0 }),
  ],
  [
    ...openDevice,
    ...mapBar,
    { ...mapDma(BUF, 0x100000, 1, {}), otherKernels: charges(4) },
    { ...mapDma(BUF2, 0x200000, 3, { vmLckKb: 4 }), otherKernels: charges(8) },
    { ...fill(BUF, 0x55), vmLckKb: 4, otherKernels: charges(8) },
    { ...copy(0x100000, 0x200000), vmLckKb: 4, otherKernels: charges(8) },
    {
      ...peek(BUF2, '00000000', { vmLckKb: 4 }),
      otherKernels: {
        '6.12': { out: '55555555', vmLckKb: 8 },
        '7.2': { out: '55555555', vmLckKb: 8 },
      },
    },
  ],
);

function charges(vmLckKb: number): NonNullable<VectorStep['otherKernels']> {
  return { '6.12': { vmLckKb }, '7.2': { vmLckKb } };
}

/** The cases, on the machine of the recording in `like`. */
export function derivedFile(like: string): VectorFile {
  const { topic, boot, machine, geometry, otherKernels } = readVectors(like);
  const common = { topic, boot, machine, geometry, otherKernels };
  return { ...common, cases: [...cases, pinnedForReading] };
}

/** A machine without an IOMMU (boot `noiommu`, which is not among the recordings here). */
export const withoutIommu: VectorFile = {
  topic: 'no-iommu',
  boot: 'noiommu-6.1',
  machine: { vars: { d0: '0000:00:02.0' }, argBuffersEndAt: '0x200000004000' },
  geometry: null,
  cases: [
    derived(
      'container-alone',
      'a container, and no group',
      [memory('anon', { fill: 1 })],
      [
        step({ op: 'ls', path: '/dev/vfio', outText: 'vfio' }),
        ...openDevice.slice(0, 1),
        step({ op: 'ioctl', fd: 'c0', nr: 15204, arg: 0 }),
        step({ op: 'ioctl', fd: 'c0', nr: 15205, arg: 1, ret: 1 }),
        step({ op: 'ioctl', fd: 'c0', nr: 15206, arg: 3, ...refused('EINVAL') }),
        mapDma(BUF, 0x100000, 3, refused('EINVAL')),
        step({ op: 'open', path: '/dev/vfio/1', flags: 2, as: 'g0', ...refused('ENOENT') }),
      ],
    ),
  ],
};

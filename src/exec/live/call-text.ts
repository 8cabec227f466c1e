/** VFIO calls in strace's form. */

import { errnoName } from '../../abi/errno.js';
import { formatFlags } from '../../abi/layout.js';
import {
  AT_FDCWD,
  F_DUPFD_CLOEXEC,
  MAP_ANONYMOUS,
  MAP_FIXED,
  MAP_FIXED_NOREPLACE,
  MAP_LOCKED,
  MAP_NORESERVE,
  MAP_POPULATE,
  MAP_PRIVATE,
  MAP_SHARED,
  PROT_EXEC,
  PROT_READ,
  PROT_WRITE,
} from '../../abi/linux.js';
import { REGION_OFFSET } from '../../abi/vfio.js';
import type { LiveCall } from '../../live/live.js';
import type { Architecture } from '../arch/index.js';
import { CALL_COLUMNS, CallColumn, type FileKind, IMAGE_BYTES, type RawCalls } from './call-log.js';
import { pointer, type Request, requestOf, requestText } from './ioctl-text.js';

const regionNames = ['BAR0', 'BAR1', 'BAR2', 'BAR3', 'BAR4', 'BAR5', 'ROM', 'config', 'VGA'];
const STRING_BYTES = 32;
const protections = { PROT_READ, PROT_WRITE, PROT_EXEC };
const mapFlags = {
  MAP_SHARED,
  MAP_PRIVATE,
  MAP_FIXED,
  MAP_ANONYMOUS,
  MAP_LOCKED,
  MAP_NORESERVE,
  MAP_POPULATE,
  MAP_FIXED_NOREPLACE,
};

/** The calls in words; `startMs` is when the run began on the clock of their times. */
export function callsInWords(
  raw: RawCalls,
  architecture: Architecture,
  startMs: number,
): LiveCall[] {
  return raw.names.map((_, index) => {
    const call = new RawCall(raw, index, architecture);
    const { result } = call;
    return {
      number: call.value('number'),
      seconds: Math.round((call.value('startMs') - startMs) * 1000) / 1e6,
      pid: call.value('pid'),
      call: call.title,
      descriptor: call.value('descriptor'),
      text: call.text,
      result,
      error: result !== null && result < 0 ? errnoName(-result) : null,
      microseconds: Math.round(call.value('tookMs') * 1e6) / 1e3,
    };
  });
}

/** `ioctl(VFIO_IOMMU_MAP_DMA)`, `openat`. */
export function callTitle(
  architecture: Architecture,
  kind: FileKind,
  nr: number,
  request: number,
): string {
  const name = nameOf(architecture, nr);
  return name === 'ioctl' ? `ioctl(${requestOf(kind, request).name})` : name;
}

class RawCall {
  private readonly row: number;
  private readonly name: string;
  private readonly kind: FileKind;
  private readonly image: Uint8Array;
  private readonly systemCall: string;

  constructor(
    private readonly raw: RawCalls,
    index: number,
    private readonly architecture: Architecture,
  ) {
    this.row = index * CALL_COLUMNS;
    this.name = raw.names[index]!;
    this.kind = raw.kinds[index]!;
    this.image = raw.images.subarray(index * 2 * IMAGE_BYTES, (index + 1) * 2 * IMAGE_BYTES);
    this.systemCall = nameOf(architecture, this.value('nr'));
  }

  value(column: keyof typeof CallColumn): number {
    return this.raw.numbers[this.row + CallColumn[column]]!;
  }

  get result(): number | null {
    const result = this.value('result');
    return Number.isNaN(result) ? null : result;
  }

  get title(): string {
    return callTitle(this.architecture, this.kind, this.value('nr'), this.argument(1) % 2 ** 32);
  }

  get text(): string {
    return `${this.systemCall}(${this.arguments.join(', ')})`;
  }

  private get arguments(): string[] {
    const { systemCall } = this;
    const path = JSON.stringify(this.name);
    switch (systemCall) {
      case 'ioctl':
        return [this.file, ...requestText(this.request, this.argument(2), this.input, this.output)];
      case 'open':
        return [path, this.openText(this.int(1))];
      case 'openat':
        return [directory(this.int(0)), path, this.openText(this.int(2))];
      case 'openat2':
        return [directory(this.int(0)), path, pointer(this.argument(2)), `${this.argument(3)}`];
      case 'read':
      case 'write':
        return [this.file, this.bytes, `${this.argument(2)}`];
      case 'pread64':
      case 'pwrite64':
        return [this.file, this.bytes, `${this.argument(2)}`, this.offset(3)];
      case 'readv':
      case 'writev':
        return [this.file, pointer(this.argument(1)), `${this.argument(2)}`];
      case 'preadv':
      case 'pwritev':
      case 'preadv2':
      case 'pwritev2':
        return [this.file, pointer(this.argument(1)), `${this.argument(2)}`, this.offset(3)];
      case 'mmap':
        return [
          pointer(this.argument(0)),
          `${this.argument(1)}`,
          this.argument(2) === 0 ? 'PROT_NONE' : formatFlags(protections, this.int(2)),
          formatFlags(mapFlags, this.int(3)),
          this.file,
          this.offset(5),
        ];
      case 'lseek':
        return [this.file, `${this.argument(1)}`, `${this.int(2)}`];
      case 'fcntl':
        return [
          this.file,
          this.int(1) === F_DUPFD_CLOEXEC ? 'F_DUPFD_CLOEXEC' : 'F_DUPFD',
          `${this.int(2)}`,
        ];
      default:
        return [this.file];
    }
  }

  /** `960</dev/vfio/vfio>`, as strace -yy has it. */
  private get file(): string {
    return `${this.value('descriptor')}<${this.name}>`;
  }

  private get request(): Request {
    return requestOf(this.kind, this.argument(1) % 2 ** 32);
  }

  private get input(): Uint8Array {
    return this.image.subarray(0, this.value('bytesIn'));
  }

  private get output(): Uint8Array {
    return this.image.subarray(IMAGE_BYTES, IMAGE_BYTES + this.value('bytesOut'));
  }

  /** What a read or a write moved. */
  private get bytes(): string {
    const bytes = this.output.length > 0 ? this.output : this.input;
    if (bytes.length === 0) return pointer(this.argument(1));
    const shown = bytes.subarray(0, STRING_BYTES);
    const text = [...shown].map((byte) => `\\x${byte.toString(16).padStart(2, '0')}`).join('');
    return `"${text}"${this.argument(2) > STRING_BYTES ? '...' : ''}`;
  }

  /** A file offset, and which region of a device that is. */
  private offset(n: number): string {
    const offset = this.argument(n);
    if (this.kind !== 'device') return `${offset}`;
    const region = regionNames[Math.floor(offset / REGION_OFFSET)];
    const place =
      region === undefined ? '' : ` /* ${region}+0x${(offset % REGION_OFFSET).toString(16)} */`;
    return `0x${offset.toString(16)}${place}`;
  }

  private openText(flags: number): string {
    const text = formatFlags(this.architecture.openFlags, flags);
    if ((flags & 3) !== 0) return text;
    return flags === 0 ? 'O_RDONLY' : `O_RDONLY|${text}`;
  }

  private argument(n: number): number {
    return this.raw.numbers[this.row + CallColumn.argument + n]!;
  }

  private int(n: number): number {
    return this.argument(n) | 0;
  }
}

function directory(fd: number): string {
  return fd === AT_FDCWD ? 'AT_FDCWD' : `${fd}`;
}

const names = new WeakMap<Architecture, Map<number, string>>();

function nameOf(architecture: Architecture, nr: number): string {
  let table = names.get(architecture);
  if (table === undefined) {
    table = new Map(Object.entries(architecture.nr).map(([name, number]) => [number, name]));
    names.set(architecture, table);
  }
  return table.get(nr) ?? `syscall_${nr}`;
}

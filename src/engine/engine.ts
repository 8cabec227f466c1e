/** One program, one device and what maps the one for the other, with the calls of Linux. */
import type { KernelVersion } from '../abi/kernel.js';
import type { FieldValues, StructLayout } from '../abi/layout.js';
import { writeStruct } from '../abi/layout.js';
import { silentFunction } from '../device/silent-function.js';
import type { Caller } from '../file/caller.js';
import { DescriptorList } from '../file/descriptor-list.js';
import type { VfioFile } from '../file/file.js';
import { PREMAP_MOST } from '../ioas/iopf/premap.js';
import { IommuDevice } from '../iommu/device.js';
import { Counters } from '../iommu/observer.js';
import { type AddressSpace, PAGE_SIZE } from '../mm/address-space.js';
import type { SimulatedMemory } from '../mm/simulated-memory.js';
import { createMachine, type Machine } from '../vfio/machine.js';
import { ARGUMENT, CallingSpace } from './calling-space.js';
import { type Dma, dmaOf, type Frames } from './dma.js';
import { called } from './engine-error.js';
import { type EngineEvent, observerOf } from './events.js';
import { type Program, type ProgramOptions, programOf, simulatedSpace } from './program.js';

/** @internal */
export const ADDRESS = '0000:00:01.0';

export interface EngineOptions extends ProgramOptions {
  /** Whose answers: `6.1`, `6.12` (default) or `7.2`. */
  readonly kernel?: KernelVersion;
  /** False: everything is pinned when it is mapped. True unless given. */
  readonly iopf?: boolean;
  /** Pages that a fault brings in, 1 to 512; 1 unless given. */
  readonly premapPages?: number;
  /** Told what happens, in order, while it does: it may not call back into the engine. */
  readonly onEvent?: (event: EngineEvent) => void;
}

/** The same over memory of your own: `checkAddressSpace` says whether it keeps to what is asked. */
export interface EmbeddedOptions extends Omit<EngineOptions, keyof ProgramOptions> {
  readonly space: AddressSpace;
  readonly frames: Frames;
}

export interface MapRequest {
  /** In bytes, whole pages, as are the others. */
  readonly iova: number;
  /** The program's address. */
  readonly vaddr: number;
  readonly size: number;
  /** READ, WRITE or both, which is the default. */
  readonly access?: number;
}

/** A container or an IOAS. What Linux answers with an errno is thrown as an `EngineError`. */
export interface Engine {
  map(request: MapRequest): void;
  /** Returns the bytes that went. */
  unmap(iova: number, size: number): number;
  readonly device: Dma;
  counters(): EngineCounters;
  /** All descriptors are closed: what was pinned is free. */
  close(): void;
}

export interface SimulatedEngine extends Engine {
  readonly program: Program;
}

/** Since the beginning, but for those in bytes, which are as it is now. */
export interface EngineCounters {
  readonly faults: number;
  readonly faultsRefused: number;
  readonly pagesFaultedIn: number;
  readonly pagesPremapped: number;
  readonly invalidations: number;
  readonly pagesInvalidated: number;
  readonly mappedBytes: number;
  readonly pinnedBytes: number;
  /** In I/O page tables. */
  readonly residentBytes: number;
}

/** @internal What a front end is made with: the process that calls, and the machine. */
export interface Front {
  readonly machine: Machine;
  readonly caller: Caller;
  /** Opens a file; its descriptor. */
  opened(file: VfioFile): number;
  /** A call whose argument is a struct; what comes back is in the buffer. */
  call<N extends string>(
    file: VfioFile,
    request: number,
    layout: StructLayout<N>,
    values: Partial<FieldValues<N>>,
  ): CallingSpace['argument'];
}

/** @internal */
export type MakeFront = (front: Front) => Pick<Engine, 'map' | 'unmap'>;

/** @internal */
export function createEngine(
  makeFront: MakeFront,
  options: EngineOptions | EmbeddedOptions,
): Engine & { readonly program: Program | null } {
  const { iopf = true, kernel, onEvent, premapPages = 1 } = options;
  if (!(Number.isInteger(premapPages) && premapPages >= 1 && premapPages <= PREMAP_MOST))
    throw new RangeError(`premapPages is ${premapPages}, not 1 to ${PREMAP_MOST}`);
  const own = 'space' in options ? null : simulatedSpace(options);
  const space = 'space' in options ? options.space : own!;
  const frames = 'space' in options ? options.frames : framesOf(own!.memory);
  const counters = new Counters();
  const observer = onEvent === undefined ? null : observerOf(onEvent);
  const device = new IommuDevice({ address: ADDRESS, counters, observer });
  const machine = createMachine({
    groups: [{ number: 1, functions: [silentFunction(device)] }],
    iopf: iopf ? 'auto' : 'off',
    premapPages,
    counters,
    observer,
    ...(kernel === undefined ? {} : { kernel }),
  });
  const calling = new CallingSpace(space);
  const descriptors = new DescriptorList();
  const files: VfioFile[] = [];
  const caller: Caller = {
    mm: calling,
    sysResource: false,
    file: (fd) => descriptors.file(fd),
    install: (file) => descriptors.install(file),
    reserve: (file) => descriptors.reserve(file),
  };
  const front = called('open', () =>
    makeFront({
      machine,
      caller,
      opened(file) {
        files.unshift(file);
        return descriptors.install(file);
      },
      call(file, request, layout, values) {
        calling.argument.bytes.set(writeStruct(layout, values));
        file.ioctl(caller, request, ARGUMENT);
        return calling.argument;
      },
    }),
  );
  return {
    ...front,
    device: dmaOf(device, frames),
    program: own === null ? null : programOf(own),
    counters: () => countersOf(counters),
    close: () => {
      for (const file of files.splice(0)) file.release();
    },
  };
}

function framesOf(memory: SimulatedMemory): Frames {
  return {
    read(frame, offset, into) {
      memory.readPage(frame, offset, into);
      return true;
    },
    write(frame, offset, from) {
      memory.writePage(frame, offset, from);
      return true;
    },
  };
}

function countersOf(counters: Counters): EngineCounters {
  return {
    faults: counters.faults,
    faultsRefused: counters.faultsRefused,
    pagesFaultedIn: counters.pagesFaultedIn,
    pagesPremapped: counters.pagesPremapped,
    invalidations: counters.invalidations,
    pagesInvalidated: counters.pagesInvalidated,
    mappedBytes: counters.mappedPages * PAGE_SIZE,
    pinnedBytes: counters.pinnedPages * PAGE_SIZE,
    residentBytes: counters.residentPages * PAGE_SIZE,
  };
}

/**
 * What went wrong in a run, gathered: refused accesses, interrupts that nobody took, calls that
 * failed. The first of each kind are kept in full, the others counted, so that a device or a
 * program that goes on asking costs no memory.
 */
import { PciInterruptIndex } from '../../abi/pci.js';
import type { IommuDevice } from '../../iommu/device.js';
import type { Asker, Incidents, RefusalCause } from '../../iommu/incidents.js';
import type { ObservedDevice } from '../../iommu/observer.js';
import { PAGE_SIZE, READ } from '../../mm/address-space.js';
import type { Machine } from '../../vfio/machine.js';
import type { FileKind } from '../live/call-log.js';
import { explain, type RefusalReason } from './refusal.js';

/** Entries of each list; what comes after these is counted only. */
const ENTRIES_MOST = 64;
/** What is done over and over is seen as well as this often. */
const EVENTS_MOST = 64;

/** Accesses that a device was refused, of one kind to one page. */
export interface RefusedAccess {
  /** `0000:02:00.0`, and `nvme`. */
  readonly device: string;
  readonly kind: string;
  /** The first of them, in bytes. */
  readonly iova: number;
  readonly access: 'read' | 'write';
  readonly reason: RefusalReason;
  readonly count: number;
  /** When the first of them was, since the run began. */
  readonly firstAtSeconds: number;
  /** `4 KiB behind the end of [0x600000, 0x640000)`. */
  readonly nearest: string | null;
  /** What of the device asked first: `read, command 7 of submission queue 1`. */
  readonly asker: string | null;
}

/** Interrupts that were raised while no eventfd was there for them. */
export interface LostInterrupt {
  readonly device: string;
  readonly kind: string;
  readonly interrupt: 'INTx' | 'MSI' | 'MSI-X';
  readonly vector: number;
  readonly count: number;
}

/** System calls on a kind of VFIO's files that failed in one way, as raw numbers. */
export interface FailedCallCount {
  readonly file: FileKind;
  readonly nr: number;
  /** Of an ioctl; else 0. */
  readonly request: number;
  readonly errno: number;
  readonly count: number;
}

/** A device was reset or asked for by the host, or a rule of `--inject` made a fault. */
export interface DeviceEvent {
  readonly kind: 'reset' | 'unbind' | 'injected';
  /** Of `injected`, the rule. */
  readonly device: string;
  readonly seconds: number;
}

/** Plain data: it crosses threads. */
export interface IncidentCounts {
  /** Accesses that devices were refused, those of `refused` included: the first 64 kinds. */
  readonly refusedAccesses: number;
  readonly refused: readonly RefusedAccess[];
  readonly lostInterrupts: readonly LostInterrupt[];
  readonly failedCalls: readonly FailedCallCount[];
}

type Writable<T> = { -readonly [Key in keyof T]: T[Key] };

const interruptNames = {
  [PciInterruptIndex.INTX]: 'INTx',
  [PciInterruptIndex.MSI]: 'MSI',
  [PciInterruptIndex.MSIX]: 'MSI-X',
} as const;

/** What it has to know of a machine. */
export interface WatchedMachine extends Pick<Machine, 'ioSpaces'> {
  readonly groups: readonly { readonly functions: readonly { address: string; kind: string }[] }[];
}

export class IncidentLog implements Incidents {
  private refusedAccesses = 0;
  private readonly refused = new Map<string, Writable<RefusedAccess>>();
  private readonly interrupts = new Map<string, Writable<LostInterrupt>>();
  private readonly calls = new Map<string, Writable<FailedCallCount>>();
  private readonly newest: DeviceEvent[] = [];
  private machine: WatchedMachine | null = null;

  constructor(
    private readonly nowMs: () => number,
    private readonly startedMs: number = nowMs(),
  ) {}

  /** The machine whose devices it watches. */
  watch(machine: WatchedMachine): void {
    this.machine = machine;
  }

  accessRefused(
    device: IommuDevice,
    iova: number,
    access: number,
    cause: RefusalCause,
    asker: Asker,
  ): void {
    this.refusedAccesses++;
    // While bus mastering is off, all that a device asks for is refused for the one reason.
    const place = cause === 'bus mastering off' ? 0 : Math.floor(iova / PAGE_SIZE);
    const key = `${device.address} ${access} ${cause} ${place}`;
    const known = this.refused.get(key);
    if (known !== undefined) known.count++;
    else if (this.refused.size < ENTRIES_MOST)
      this.refused.set(key, {
        device: device.address,
        kind: this.kindOf(device.address),
        iova,
        access: access === READ ? 'read' : 'write',
        ...explain(cause, iova, device.stage2Page(place, access), access, this.spaceOf(device)),
        count: 1,
        firstAtSeconds: this.seconds,
        asker: asker(),
      });
  }

  interruptLost({ address }: IommuDevice, index: number, vector: number): void {
    const interrupt = interruptNames[index as keyof typeof interruptNames];
    const key = `${address} ${interrupt} ${vector}`;
    const known = this.interrupts.get(key);
    if (known !== undefined) known.count++;
    else if (this.interrupts.size < ENTRIES_MOST) {
      const kind = this.kindOf(address);
      this.interrupts.set(key, { device: address, kind, interrupt, vector, count: 1 });
    }
  }

  callFailed(file: FileKind, nr: number, request: number, errno: number): void {
    const key = `${file} ${nr} ${request} ${errno}`;
    const known = this.calls.get(key);
    if (known !== undefined) known.count++;
    else if (this.calls.size < ENTRIES_MOST)
      this.calls.set(key, { file, nr, request, errno, count: 1 });
  }

  deviceReset({ address }: ObservedDevice): void {
    this.noteEvent('reset', address);
  }

  deviceUnbound({ address }: ObservedDevice): void {
    this.noteEvent('unbind', address);
  }

  faultMade(rule: string): void {
    this.noteEvent('injected', rule);
  }

  /** The newest, at most 64. */
  get events(): readonly DeviceEvent[] {
    return this.newest;
  }

  get counts(): IncidentCounts {
    const copies = <T extends object>(entries: Map<string, T>): T[] =>
      [...entries.values()].map((entry) => ({ ...entry }));
    return {
      refusedAccesses: this.refusedAccesses,
      refused: copies(this.refused),
      lostInterrupts: copies(this.interrupts),
      failedCalls: copies(this.calls),
    };
  }

  private noteEvent(kind: DeviceEvent['kind'], device: string): void {
    if (this.newest.length === EVENTS_MOST) this.newest.shift();
    this.newest.push({ kind, device, seconds: this.seconds });
  }

  private get seconds(): number {
    return Math.round(this.nowMs() - this.startedMs) / 1000;
  }

  private kindOf(address: string): string {
    const functions = this.machine?.groups.flatMap((group) => group.functions) ?? [];
    return functions.find((each) => each.address === address)?.kind ?? 'device';
  }

  private spaceOf({ domain }: IommuDevice): ReturnType<Machine['ioSpaces']>[number] | null {
    if (domain === null) return null;
    return this.machine?.ioSpaces().find((space) => space.domains.includes(domain)) ?? null;
  }
}

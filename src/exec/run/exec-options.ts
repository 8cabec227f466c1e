import type { KernelVersion } from '../../abi/kernel.js';
import type { Rule } from '../../inject/rule.js';
import type { IopfMode } from '../../ioas/iopf/mode.js';
import type { MachineSpec } from '../machine/machine-spec.js';
import type { DeviceErrors } from '../module/module-fate.js';
import type { RequestTimes } from './modelled-time.js';

/** What a run is asked to do. Plain data: it crosses threads. */
export interface ExecOptions {
  readonly program: string;
  readonly arguments: readonly string[];
  readonly machine: MachineSpec;
  /** Whose answers the program gets. */
  readonly kernel: KernelVersion;
  readonly iopf: IopfMode;
  /** Pages brought in per fault, 1 to 512 (R4.1). */
  readonly premapPages: number;
  /** Bytes at which the host is asked to keep the program's memory; null: it is left alone. */
  readonly reclaimBytes: number | null;
  /** Milliseconds between two looks at which pages have left memory; null: nobody looks. */
  readonly reclaimScanMs: number | null;
  /** Loads and stores of mapped registers reach the devices; else those cannot be mapped. */
  readonly traps: boolean;
  /** Trace file; its ending chooses the form: `.json` Chrome/Perfetto, else the kernel's text. */
  readonly trace: string | null;
  /** Recording: docs/recording.md. */
  readonly record: string | null;
  /** Capture of network cards' frames, pcapng. */
  readonly pcap: string | null;
  /** Also watches what a report draws. */
  readonly picture: boolean;
  /** What an error in a device of the user's own does to the run. */
  readonly deviceErrors: DeviceErrors;
  /** How long page requests take; null: as long as they do. */
  readonly times: RequestTimes | null;
  /** Faults on purpose; null: none. */
  readonly inject: InjectOptions | null;
}

export interface InjectOptions {
  readonly rules: readonly Rule[];
  /** Of what comes by chance, 0 to 2^32 - 1. */
  readonly seed: number;
  /** The command line that makes the same faults again. */
  readonly again: string;
}

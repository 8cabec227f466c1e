/** What a report shows: the data of its page. */

import type { SavedRun } from '../live/live.js';
import type { AddressMapData } from '../trace/address-map.js';
import type { TimelineStep } from '../trace/timeline.js';

export interface ReportRun {
  /** What tells this run from the others of its group: a policy. */
  readonly name: string;
  /** Numbers by the names that `--json` gives them. */
  readonly numbers: Readonly<Record<string, number | string | null>>;
  readonly timeline: readonly TimelineStep[];
  /** Faults by VT-d's buckets. */
  readonly latency: Readonly<Record<string, number>>;
  readonly map: AddressMapData | null;
}

/** Slowdowns in percent by something else. */
export interface ReportCurves {
  readonly title: string;
  readonly along: 'memory' | 'machines';
  /** Each from the left to the right. */
  readonly lines: readonly {
    readonly name: string;
    readonly at: readonly number[];
    readonly slowdownPercent: readonly number[];
  }[];
}

export interface ReportTable {
  readonly title: string;
  readonly rows: readonly Readonly<Record<string, number | string | null>>[];
}

/** What happened in which order, with a column for each actor. */
export interface ReportHistory {
  readonly title: string;
  /** What is to be said about it. */
  readonly lines: readonly string[];
  readonly actors: readonly string[];
  readonly steps: readonly {
    readonly actor: string;
    readonly what: string;
    readonly changes: readonly string[];
  }[];
  /** Command line that shows it again. */
  readonly replay: string;
}

export interface Report {
  readonly title: string;
  /** What a run came to, in a sentence, and what to try. */
  readonly verdict?: { readonly verdict: string; readonly hint: string | null };
  /** Runs of one input; `note`: what its drawings show of them. */
  readonly groups: readonly {
    readonly title: string;
    readonly note?: string;
    readonly runs: readonly ReportRun[];
  }[];
  readonly curves?: readonly ReportCurves[];
  readonly tables: readonly ReportTable[];
  readonly histories?: readonly ReportHistory[];
  /** A run that was watched while it went. */
  readonly run?: SavedRun;
}

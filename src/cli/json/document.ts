/** What `--json` writes, whatever the command: who wrote it, about what, and where. */
import { release } from 'node:os';
import { Option } from 'commander';
import { version } from '../version.js';

/** Counts up where a reader of the one before would go wrong; a new field is no such change. */
export const schemaNames = {
  exec: 'iopf.exec/1',
  matrix: 'iopf.matrix/1',
  sweep: 'iopf.sweep/1',
  serve: 'iopf.serve/1',
  compare: 'iopf.compare/1',
  plan: 'iopf.plan/1',
  check: 'iopf.check/1',
  conformance: 'iopf.conformance/1',
  version: 'iopf.version/1',
} as const;

export type DocumentKind = keyof typeof schemaNames;

export interface DocumentHead<Kind extends DocumentKind = DocumentKind> {
  readonly schema: (typeof schemaNames)[Kind];
  /** Of iopf. */
  readonly version: string;
  /** The words of the command line behind `iopf`. */
  readonly arguments: readonly string[];
  readonly host: {
    /** `6.12.43+deb13-amd64`, `v20.19.2`, `x64`. */
    readonly kernel: string;
    readonly node: string;
    readonly architecture: string;
  };
}

/** A command's results with their head. */
export function documentOf<Kind extends DocumentKind, Results extends object>(
  kind: Kind,
  results: Results,
  words: readonly string[] = process.argv.slice(2),
): DocumentHead<Kind> & Results {
  return {
    schema: schemaNames[kind],
    version: version(),
    arguments: words,
    host: { kernel: release(), node: process.version, architecture: process.arch },
    ...results,
  };
}

export function jsonText(document: DocumentHead): string {
  return `${JSON.stringify(document, null, 2)}\n`;
}

const STANDARD_OUTPUT = '/dev/stdout';

export function jsonOption(what: string): Option {
  return new Option('--json <file>', `write ${what} as JSON; -: to standard output`).argParser(
    (path) => (path === '-' ? STANDARD_OUTPUT : path),
  );
}

/** Whether the JSON goes where the tables for people go. */
export function takesStandardOutput({ json }: { readonly json?: string }): boolean {
  return json === STANDARD_OUTPUT;
}

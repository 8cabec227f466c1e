/**
 * Work that runs anywhere: a *job* is a pure function of its input, which is JSON, and of the files
 * and modules that the input names. A *runner* carries jobs out: in threads, or on other machines.
 */
import type { z } from 'zod';
import type { FileSource } from '../input/file-source.js';

export interface JobContext<Progress> {
  /** Where the job reads the files that its input names. */
  readonly files: FileSource;
  progress(value: Progress): void;
}

export interface JobSchemas<Input, Result, Progress> {
  readonly input: z.ZodType<Input>;
  readonly result: z.ZodType<Result>;
  readonly progress: z.ZodType<Progress>;
}

/** What jobs of a kind have in common. */
export interface JobKind<Input, Result, Progress> {
  readonly name: 'curve' | 'compare' | 'check';
  /** Throws one of `refusals` where the user has to mend something. */
  run(input: Input, context: JobContext<Progress>): Result | Promise<Result>;
  /** Errors by which a job refuses: they end all jobs of a run. */
  readonly refusals: Readonly<Record<string, new (message: string) => Error>>;
  /** Files that `run` reads, by the names that it asks for. Throws UserError. */
  filesOf(input: Input): readonly string[];
  /** URLs of the user's modules that run. */
  modulesOf(input: Input): readonly string[];
  /** The same input with those modules elsewhere. */
  withModules(input: Input, at: (url: string) => string): Input;
  /** Of what comes from other machines; loaded only then. */
  schemas(): Promise<JobSchemas<Input, Result, Progress>>;
}

/** How often a job is tried that ends in neither a result nor a refusal. */
export const ATTEMPTS = 3;

export type JobOutcome<Result> =
  | { readonly kind: 'done'; readonly result: Result }
  /** Every attempt failed; `message`, of the last, is a line. */
  | { readonly kind: 'failed'; readonly message: string };

export interface JobEvents<Result, Progress> {
  progress?(index: number, value: Progress): void;
  done?(index: number, outcome: JobOutcome<Result>): void;
}

export interface JobRunner {
  /**
   * Outcomes in the order of the inputs, whoever carried them out and in whatever order. Rejects
   * with a refusal of a job; with UserError where jobs cannot be carried out.
   */
  run<Input, Result, Progress>(
    kind: JobKind<Input, Result, Progress>,
    inputs: readonly Input[],
    events?: JobEvents<Result, Progress>,
  ): Promise<JobOutcome<Result>[]>;
}

/** An error in a line, for reports. */
export function lineOf(error: unknown): string {
  const { message } = (error ?? {}) as Partial<Error>;
  return (message ?? String(error)).split('\n')[0]!;
}

/** The name of the refusal that an error is, or null. */
export function refusalOf(
  { refusals }: Pick<JobKind<never, unknown, never>, 'refusals'>,
  error: unknown,
): string | null {
  const found = Object.entries(refusals).find(([, of]) => error instanceof of);
  return found?.[0] ?? null;
}

/** What the engine tells whoever started it, in this thread or from its own. */
import { UserError } from '../../input/user-error.js';
import type { LiveWire } from '../live/sampler.js';
import { DeviceStopped } from '../module/module-fate.js';
import type { PageOutRequest } from '../reclaim/page-out.js';
import { type EngineOptions, type Served, serve } from './engine.js';

export type EngineMessage =
  | ({ readonly kind: 'done' } & Served)
  /** The user must change something: nothing ran, or a device of theirs ended the run. */
  | { readonly kind: 'refused'; readonly message: string; readonly exitCode: number | null }
  /** A defect of iopf. */
  | { readonly kind: 'bug'; readonly message: string };

/** Serves a run to its end; `pageOut` passes requests to the thread that carries them out. */
export async function runEngine(
  options: EngineOptions,
  pageOut: (request: PageOutRequest) => void,
  wire: LiveWire | null,
): Promise<EngineMessage> {
  try {
    return { kind: 'done', ...(await serve(options, pageOut, wire)) };
  } catch (error) {
    if (error instanceof DeviceStopped)
      return { kind: 'refused', message: error.message, exitCode: null };
    if (error instanceof UserError)
      return { kind: 'refused', message: error.message, exitCode: error.exitCode };
    return {
      kind: 'bug',
      message: error instanceof Error ? (error.stack ?? error.message) : String(error),
    };
  }
}

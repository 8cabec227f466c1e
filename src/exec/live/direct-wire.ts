import type { LiveMessage } from '../../live/live.js';
import type { Architecture } from '../arch/index.js';
import { callsInWords } from './call-text.js';
import type { EngineLive, LiveWire } from './sampler.js';

/** To somebody in the engine's own thread, who asks nothing. */
export function directWire(
  architecture: Architecture,
  tell: (message: LiveMessage) => void,
): LiveWire {
  return {
    post: (message) => {
      if (message.kind === 'sample') tellSample(message, architecture, tell);
    },
    question: () => null,
    close: () => {},
  };
}

/** Tells a sample, and the calls since the last one in words. */
export function tellSample(
  { calls, sample, startMs }: EngineLive & { readonly kind: 'sample' },
  architecture: Architecture,
  tell: (message: LiveMessage) => void,
): void {
  tell(sample);
  if (calls === null) return;
  const words = callsInWords(calls, architecture, startMs);
  tell({ kind: 'calls', calls: words, total: calls.total });
}

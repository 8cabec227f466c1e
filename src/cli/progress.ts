/** How far a long command is, on stderr: a line that is written over, or a line now and then. */
import { tell } from '../exec/run/tell.js';
import { printable } from '../input/printable.js';

const TERMINAL_EVERY_MS = 250;
/** Where stderr is no terminal: the first line after this, each next one twice as long after. */
const LOG_FIRST_MS = 10_000;
/** Before this much is done, or has passed, nobody knows how long the rest takes. */
const ESTIMATE_FROM_SHARE = 1e-4;
const ESTIMATE_FROM_MS = 1000;
const WIDTH = 100;

export interface ProgressLine {
  /** `share`: what is done of all, 0 to 1. */
  show(what: string, share: number): void;
  /** Takes the line away. */
  clear(): void;
}

/** What a command shows of itself while it is at work. */
export function progressLine(
  isTerminal = process.stderr.isTTY === true,
  nowMs: () => number = () => performance.now(),
  write: (text: string) => void = (text) => void process.stderr.write(text),
  log: (text: string) => void = tell,
): ProgressLine {
  const startedMs = nowMs();
  let nextMs = isTerminal ? startedMs + TERMINAL_EVERY_MS : startedMs + LOG_FIRST_MS;
  let shown = false;
  return {
    show(what, share) {
      const atMs = nowMs();
      if (atMs < nextMs) return;
      const text = `${(100 * share).toFixed(share < 0.1 ? 1 : 0)} % done, ${left(share, atMs - startedMs)}`;
      if (isTerminal) {
        nextMs = atMs + TERMINAL_EVERY_MS;
        shown = true;
        write(`\r\x1b[K${printable(`${text}: ${what}`).slice(0, WIDTH)}`);
      } else {
        nextMs = atMs + (atMs - startedMs);
        log(`${text}: ${what}`);
      }
    },
    clear() {
      if (shown) write('\r\x1b[K');
      shown = false;
    },
  };
}

/** `about 3 min left`. */
function left(share: number, passedMs: number): string {
  if (share < ESTIMATE_FROM_SHARE || passedMs < ESTIMATE_FROM_MS)
    return 'how long it takes is not known yet';
  const seconds = (passedMs * (1 - share)) / share / 1000;
  if (seconds < 90) return `about ${Math.ceil(seconds)} s left`;
  if (seconds < 90 * 60) return `about ${Math.round(seconds / 60)} min left`;
  if (seconds < 48 * 3600) return `about ${Math.round(seconds / 3600)} h left`;
  return `about ${Math.round(seconds / 86_400)} days left`;
}

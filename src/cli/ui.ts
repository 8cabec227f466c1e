/** `--ui [PORT]`, which `exec`, `compare` and `check` share. */
import { InvalidArgumentError, Option } from 'commander';
import { tell } from '../exec/run/tell.js';
import type { LiveEnd, LiveMessage, LiveSource, LiveStart } from '../live/live.js';

/** What ends the view of a run that is over. */
const endingSignals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

const REPORT_EVERY_MS = 250;

export interface CommandView {
  tell(message: LiveMessage): void;
  /** Nothing more follows: keeps the page up while it is open, or could be opened. */
  finish(): Promise<void>;
  /** The command failed. */
  close(): void;
}

/** Its value: a port, or `true` where none was given. */
export function uiOption(): Option {
  return new Option(
    '--ui [port]',
    'serve a live view on this port of 127.0.0.1 (default: any free one)',
  ).argParser(parsePort);
}

/** Serves the view and says where. Throws UserError where the port is not available. */
export async function openView(
  port: number | true,
  start: Omit<LiveStart, 'kind'>,
  source: LiveSource = { ask: () => Promise.resolve(null) },
): Promise<CommandView> {
  // Loaded only when asked for, as the parsers are.
  const { openLiveView } = await import('../ui/live-view.js');
  const { livePage, pagePolicy } = await import('../report/html.js');
  const view = await openLiveView({
    port: port === true ? 0 : port,
    html: livePage(start.title),
    policy: pagePolicy(),
    source,
  });
  view.tell({ kind: 'start', ...start });
  tell(`live view at ${view.url}`);
  return {
    tell: (message) => view.tell(message),
    close: () => view.close(),
    finish: async () => {
      // At a terminal a user may still open the page, and can press Ctrl-C; in CI there is none.
      const { isatty } = await import('node:tty');
      const gone = view.lastPageGone(isatty(0) && isatty(2));
      let stop: () => void = () => {};
      const stopped = new Promise<void>((resolve) => {
        stop = resolve;
      });
      for (const signal of endingSignals) process.on(signal, stop);
      const note = setTimeout(
        () => tell('over; the live view stays until its page is closed, or until Ctrl-C'),
        1000,
      );
      await Promise.race([gone, stopped]);
      clearTimeout(note);
      for (const signal of endingSignals) process.off(signal, stop);
      view.close();
    },
  };
}

/** The end of a command that has no program: `startedMs` on the clock of `performance.now`. */
export function endOf(startedMs: number): LiveEnd {
  return {
    kind: 'end',
    seconds: (performance.now() - startedMs) / 1000,
    how: 'done',
    summary: null,
  };
}

/** Calls `act` at most four times a second; values in between are dropped. */
export function occasionally<Value>(act: (value: Value) => void): (value: Value) => void {
  let next = 0;
  return (value) => {
    const now = performance.now();
    if (now < next) return;
    act(value);
    next = now + REPORT_EVERY_MS;
  };
}

function parsePort(text: string): number {
  const port = Number(text);
  if (!/^\d+$/.test(text) || port > 65_535)
    throw new InvalidArgumentError(
      `"${text}" is not a port (0 to 65535); to leave the port out, put --ui before another option or before --.`,
    );
  return port;
}

/** A page that watches: it takes the messages of a run, a comparison or a check as they come. */

import type { LiveMessage, LiveStart } from '../live/live.js';
import type { Report } from '../report/report.js';
import { askMap, Connection } from './connection.js';
import { Header } from './header.js';
import { DRAW_EVERY_MS, paintNow } from './painter.js';
import { ReportView } from './report-view.js';
import { RunView } from './run-view.js';
import { save } from './save.js';

/** A hidden page polls this many times less often. */
const HIDDEN_TIMES = 4;
/** Results so far are shown this often at most: each is a new drawing of all. */
const REPORT_EVERY_MS = 1000;

export function watch(main: HTMLElement): Header {
  let run: RunView | null = null;
  let results: ReportView | null = null;
  let report: Report | null = null;
  let showsSoon = false;
  let shownAt = Number.NEGATIVE_INFINITY;
  let ended = false;
  let connected = false;
  let asking = false;

  const header = new Header(() => {
    const saved = run === null ? report : run.saved;
    if (saved !== null) save(saved);
  });

  const begin = (start: LiveStart): void => {
    run?.destroy();
    results?.destroy();
    run = null;
    results = null;
    report = null;
    showsSoon = false;
    ended = false;
    header.begin(start.title, start.facts);
    header.offerSave(false);
    if (start.command !== 'exec') return;
    run = new RunView(start, true);
    main.replaceChildren(run.root);
  };

  const showResults = (): void => {
    // The end may have come first.
    if (!showsSoon) return;
    showsSoon = false;
    shownAt = performance.now();
    results?.destroy();
    results = new ReportView(report!);
    main.replaceChildren(results.root);
  };

  const takeReport = (next: Report): void => {
    report = next;
    header.offerSave(true);
    if (run !== null) run.take(next);
    else if (!showsSoon) {
      showsSoon = true;
      setTimeout(showResults, Math.max(0, shownAt + REPORT_EVERY_MS - performance.now()));
    }
  };

  const take = (message: LiveMessage): void => {
    if (message.kind === 'start') begin(message);
    else if (message.kind === 'sample') {
      header.time(message.seconds);
      if (message.user !== null) header.rename(`iopf exec ${message.user}`);
      run?.sample(message);
    } else if (message.kind === 'calls') run?.calls(message);
    else if (message.kind === 'progress') header.advance(message);
    else if (message.kind === 'report') takeReport(message.report as Report);
    else {
      ended = true;
      header.time(message.seconds);
      header.connection('ended', message.how);
      run?.finish(message);
      if (showsSoon) showResults();
      paintNow();
    }
  };

  const look = async (): Promise<void> => {
    if (run === null || asking || ended || !connected) return;
    const { requests } = run.map;
    if (requests.length === 0) return;
    asking = true;
    const asked = run;
    try {
      const { columns, seconds } = await askMap(requests);
      if (!ended) asked.columns(seconds, columns);
    } catch {
      // Busy, or gone; the connection tells which.
    } finally {
      asking = false;
    }
  };

  let ticks = 0;
  const timer = setInterval(() => {
    if (ended) clearInterval(timer);
    else if (!document.hidden || ticks++ % HIDDEN_TIMES === 0) void look();
  }, DRAW_EVERY_MS);

  new Connection(take, (state) => {
    connected = state === 'live';
    if (!ended) header.connection(state);
  });
  return header;
}

/**
 * The page: a report that is in it, a run that was saved in it, or a run that goes on beside it.
 */
import 'uplot/dist/uPlot.min.css';
import './page.css';
import type { Report } from '../report/report.js';
import { make } from './dom.js';
import { Header } from './header.js';
import { watch } from './live.js';
import { paintAll } from './painter.js';
import { ReportView } from './report-view.js';
import { RunView } from './run-view.js';
import { themeChanged } from './theme.js';
import { placeTip } from './tip.js';

const report = JSON.parse(document.getElementById('data')!.textContent ?? 'null') as Report | null;
const main = make('main');

function show(report: Report): Header {
  const header = new Header(() => {});
  const { run } = report;
  header.begin(report.title, run?.start.facts ?? {});
  if (run?.end) {
    header.connection('ended', run.end.how);
    header.time(run.end.seconds);
  }
  main.append(run === undefined ? new ReportView(report).root : RunView.saved(report, run).root);
  return header;
}

const header = report === null ? watch(main) : show(report);
document.body.prepend(header.root, main);
placeTip(document.body);

// Paper is white, and shows all of the page.
addEventListener('beforeprint', () => {
  themeChanged();
  paintAll();
});

/** A check's results as one HTML page: a table of scenarios, and a timeline with a column per actor for each violation. */
import type { ScenarioReport, ViolationReport } from './job.js';

const STYLE = `
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 76rem; padding: 0 1rem; color: #1c2024; background: #fff; }
h1 { font-size: 1.4rem; } h2 { font-size: 1.1rem; margin-top: 2.5rem; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: .35rem .6rem; border-bottom: 1px solid #dde1e6; }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; }
.bad { color: #a4161a; font-weight: 600; } .good { color: #1b6e3c; }
.timeline td { width: auto; border-bottom: 1px dotted #c8ced6; } .timeline td.step { background: #f3f6fa; }
.timeline ul { margin: .2rem 0 0; padding-left: 1.1rem; color: #4a5560; font-size: .9em; }
code { background: #f3f6fa; padding: .1rem .3rem; border-radius: 3px; }
@media (prefers-color-scheme: dark) {
  body { background: #16191d; color: #e3e7ec; } th, td { border-color: #333a42; }
  .timeline td.step, code { background: #20262d; } .timeline ul { color: #a8b3bf; }
  .bad { color: #ff7b72; } .good { color: #6fcf97; }
}`;

export function toHtml(reports: readonly ScenarioReport[]): string {
  const broken = reports.flatMap((report) =>
    report.violations.map((violation) => timeline(report, violation)),
  );
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>iopf check</title>
<meta name="viewport" content="width=device-width"><style>${STYLE}</style></head><body>
<h1>iopf check</h1>
<table><tr><th>scenario</th><th>rows</th><th class="n">orders</th><th class="n">states</th><th class="n">seconds</th><th>result</th></tr>
${reports.map(row).join('\n')}
</table>
${broken.join('\n')}
</body></html>
`;
}

function row(report: ScenarioReport): string {
  const name = report.variant === null ? report.name : `${report.variant}: ${report.name}`;
  const result =
    report.violations.length !== 0
      ? '<span class="bad">violation</span>'
      : report.exhaustive
        ? '<span class="good">every order holds</span>'
        : 'holds, not every order was run';
  return `<tr><td>${escapeHtml(name)}<br><small>${escapeHtml(report.about)}</small></td><td>${report.rows.join(' ')}</td>
<td class="n">${report.orders.toLocaleString('en-US')}</td><td class="n">${report.states.toLocaleString('en-US')}</td>
<td class="n">${report.seconds.toFixed(2)}</td><td>${result}</td></tr>`;
}

function timeline(report: ScenarioReport, violation: ViolationReport): string {
  const head = report.actors.map((actor) => `<th>${escapeHtml(actor)}</th>`).join('');
  const steps = violation.steps.map((step, i) => {
    const changes = step.changes.map((change) => `<li>${escapeHtml(change)}</li>`).join('');
    const cells = report.actors.map((actor) =>
      actor === step.actor
        ? `<td class="step">${escapeHtml(step.what)}${changes === '' ? '' : `<ul>${changes}</ul>`}</td>`
        : '<td></td>',
    );
    return `<tr><td class="n">${i + 1}</td>${cells.join('')}</tr>`;
  });
  return `<h2>${escapeHtml(violation.row)}: ${escapeHtml(report.variant ?? '')} ${escapeHtml(report.name)}</h2>
<p class="bad">Broken: ${escapeHtml(violation.invariant)}.</p><p>${escapeHtml(violation.detail)}</p>
<table class="timeline"><tr><th class="n">step</th>${head}</tr>
${steps.join('\n')}
</table><p>Again: <code>${escapeHtml(violation.replay)}</code></p>`;
}

function escapeHtml(text: string): string {
  return text.replace(/&/g, '&amp;').replace(/</g, '&lt;').replace(/>/g, '&gt;').replace(/"/g, '&quot;');
}

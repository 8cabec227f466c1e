/** What a run came to, and what went wrong in it. */
import type { LiveIncidents } from '../live/live.js';
import { make, section, setText } from './dom.js';
import { table } from './numbers.js';

/** A sentence, and what to try. */
export class VerdictLine {
  readonly root = make('p', { class: 'verdict', role: 'status', hidden: true });
  private readonly hint = make('span', { class: 'dim' });
  private readonly sentence = make('strong', { 'data-field': 'verdict' });

  constructor() {
    this.root.append(this.sentence, ' ', this.hint);
  }

  set(verdict: string, hint: string | null): void {
    this.root.hidden = false;
    setText(this.sentence, verdict);
    const text = hint === null ? '' : `Try: ${hint}.`;
    // A line does not end inside the name of an option.
    const parts = text
      .split(/(--[\w-]+)/)
      .map((part, index) => (index % 2 === 0 ? part : make('span', { class: 'option' }, part)));
    if (this.hint.textContent !== text) this.hint.replaceChildren(...parts);
  }
}

const titles: Readonly<Record<keyof LiveIncidents, string>> = {
  refused: 'Refused accesses',
  lostInterrupts: 'Interrupts without an eventfd',
  failedCalls: 'Calls that failed',
};

/** A table for each kind of incident that there was. */
export class IncidentTables {
  readonly root = make('div');
  private shown = '';

  set(incidents: LiveIncidents): void {
    const text = JSON.stringify(incidents);
    if (text === this.shown) return;
    this.shown = text;
    const kinds = Object.entries(titles) as [keyof LiveIncidents, string][];
    this.root.replaceChildren(
      ...kinds
        .filter(([kind]) => incidents[kind].length > 0)
        .map(([kind, title]) => section(title, `wide ${kind}`, table(incidents[kind]))),
    );
  }
}

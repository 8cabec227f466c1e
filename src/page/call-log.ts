/**
 * The log of VFIO calls in strace form. Only the lines that are seen are in the document, however
 * many there are.
 */
import type { LiveCall } from '../live/live.js';
import {
  type CallFilter,
  CallStore,
  type Entry,
  entriesOf,
  everything,
  head,
  isMark,
  line,
  outcome,
  passes,
  took,
} from './call-filter.js';
import { button, make, section, setText } from './dom.js';
import { count } from './format.js';
import { isSame, type Mark } from './marks.js';
import { drawn, forget } from './painter.js';

const CALLS_MOST = 5000;
const LINE_HEIGHT = 20;
/** Lines beyond the edges, so that scrolling does not show a gap. */
const AROUND = 8;

export class CallLog {
  readonly root: HTMLElement;
  private readonly store = new CallStore(CALLS_MOST);
  private filter: CallFilter = everything;
  private marks: readonly Mark[] = [];
  private shown: Entry[] = [];
  private selected = -1;
  /** The log follows the newest line until one scrolls away from it. */
  private following = true;
  private readonly box: HTMLElement;
  private readonly space = make('div', { class: 'space' });
  private readonly told = make('output', { class: 'dim', 'data-field': 'calls' });
  private readonly detail = make('pre', { class: 'detail', hidden: true });
  private readonly choices: Record<'call' | 'result' | 'descriptor', Choice>;
  private readonly changed: () => void;

  constructor() {
    this.choices = {
      call: new Choice('Call', 'all calls', () => this.refilter()),
      result: new Choice('Result', 'all results', () => this.refilter(), {
        ok: 'succeeded',
        failed: 'failed',
      }),
      descriptor: new Choice('Descriptor', 'all descriptors', () => this.refilter()),
    };
    const text = make('input', {
      type: 'search',
      placeholder: 'text',
      'aria-label': 'Text in the call',
      spellcheck: 'false',
    });
    text.addEventListener('input', () => {
      this.filter = { ...this.filter, text: text.value };
      this.refilter();
    });
    this.box = make(
      'div',
      { class: 'log', tabindex: 0, role: 'listbox', 'aria-label': 'VFIO calls' },
      this.space,
    );
    const bar = make('div', { class: 'toolbar' });
    for (const choice of Object.values(this.choices)) bar.append(choice.node);
    bar.append(
      text,
      button('Newest', 'Follow the newest call (End)', () => this.follow()),
      this.told,
    );
    this.root = section('VFIO calls', 'wide', bar, this.box, this.detail);
    this.changed = drawn(this.box, () => this.draw());
    this.box.addEventListener('scroll', () => {
      this.following =
        this.box.scrollTop + this.box.clientHeight >= this.box.scrollHeight - LINE_HEIGHT;
      this.drawLines();
    });
    this.box.addEventListener('click', (event) => {
      const row = (event.target as HTMLElement).closest<HTMLElement>('[data-at]');
      if (row !== null) this.select(Number(row.dataset['at']));
    });
    this.box.addEventListener('keydown', (event) => this.key(event));
    new ResizeObserver(() => this.changed()).observe(this.box);
  }

  add(calls: readonly LiveCall[], total: number): void {
    const { added, gone } = this.store.add(calls, total);
    for (const call of added) {
      this.choices.call.offer(call.call);
      if (call.error !== null) this.choices.result.offer(call.error);
      if (call.descriptor >= 0) this.choices.descriptor.offer(`${call.descriptor}`);
    }
    const lastMark = this.marks.at(-1)?.seconds ?? Number.NEGATIVE_INFINITY;
    if (gone > 0 || (added[0]?.seconds ?? Number.POSITIVE_INFINITY) < lastMark) this.lay();
    else for (const call of added) if (passes(this.filter, call)) this.shown.push(call);
    this.changed();
  }

  /** What happened beside the calls. */
  mark(marks: readonly Mark[]): void {
    if (isSame(marks, this.marks)) return;
    this.marks = marks;
    for (const { kind } of marks) this.choices.call.offer(kind);
    this.lay();
    this.changed();
  }

  get kept(): { readonly calls: readonly LiveCall[]; readonly total: number } {
    return this.store;
  }

  destroy(): void {
    forget(this.box);
  }

  /** Lays out all that passes anew; what was selected stays it. */
  private lay(): void {
    const selected = this.shown[this.selected];
    this.shown = entriesOf(this.store.calls, this.marks, this.filter);
    this.selected = selected === undefined ? -1 : this.shown.indexOf(selected);
  }

  private refilter(): void {
    const { call, descriptor, result } = this.choices;
    this.filter = {
      ...this.filter,
      call: call.value,
      result: result.value,
      descriptor: descriptor.value,
    };
    this.selected = -1;
    this.lay();
    this.select(-1);
    this.draw();
  }

  private follow(): void {
    this.following = true;
    this.draw();
  }

  private draw(): void {
    const { calls, total } = this.store;
    for (const choice of Object.values(this.choices)) choice.draw();
    this.space.style.height = `${this.shown.length * LINE_HEIGHT}px`;
    const kept =
      total === calls.length
        ? `${count(total)} calls`
        : `the newest ${count(calls.length)} of ${count(total)} calls`;
    const shown = this.shown.filter((entry) => !isMark(entry)).length;
    setText(this.told, shown === calls.length ? kept : `${count(shown)} of ${kept}`);
    if (this.following) this.box.scrollTop = this.shown.length * LINE_HEIGHT;
    this.drawLines();
  }

  private drawLines(): void {
    const first = Math.max(0, Math.floor(this.box.scrollTop / LINE_HEIGHT) - AROUND);
    const end = Math.min(
      this.shown.length,
      first + Math.ceil(this.box.clientHeight / LINE_HEIGHT) + 2 * AROUND,
    );
    const rows: HTMLElement[] = [];
    for (let at = first; at < end; at++) rows.push(this.row(at));
    this.space.replaceChildren(...rows);
  }

  private row(at: number): HTMLElement {
    const entry = this.shown[at]!;
    const kind = isMark(entry) ? `mark ${entry.kind}` : entry.error !== null ? 'failed' : '';
    const row = make(
      'div',
      {
        id: `entry-${at}`,
        role: 'option',
        'data-at': at,
        'aria-selected': String(at === this.selected),
        class: kind,
      },
      make('span', { class: 'dim' }, head(entry)),
      `${entry.text} `,
    );
    if (!isMark(entry))
      row.append(
        make('span', { class: 'outcome' }, '= ', make('b', {}, outcome(entry)), ` ${took(entry)}`),
      );
    row.style.top = `${at * LINE_HEIGHT}px`;
    return row;
  }

  private select(at: number): void {
    this.selected = at;
    const entry = this.shown[at];
    this.detail.hidden = entry === undefined;
    this.detail.textContent = entry === undefined ? '' : line(entry).trim();
    if (entry === undefined) this.box.removeAttribute('aria-activedescendant');
    else this.box.setAttribute('aria-activedescendant', `entry-${at}`);
    this.drawLines();
  }

  private key(event: KeyboardEvent): void {
    if (event.ctrlKey || event.altKey || event.metaKey || this.shown.length === 0) return;
    const page = Math.max(1, Math.floor(this.box.clientHeight / LINE_HEIGHT) - 1);
    const last = this.shown.length - 1;
    const from = this.selected < 0 ? (this.following ? last + 1 : -1) : this.selected;
    const to = {
      ArrowUp: from - 1,
      ArrowDown: from + 1,
      PageUp: from - page,
      PageDown: from + page,
      Home: 0,
      End: last,
    }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    const at = Math.max(0, Math.min(last, to));
    if (at * LINE_HEIGHT < this.box.scrollTop) this.box.scrollTop = at * LINE_HEIGHT;
    else if ((at + 1) * LINE_HEIGHT > this.box.scrollTop + this.box.clientHeight)
      this.box.scrollTop = (at + 1) * LINE_HEIGHT - this.box.clientHeight;
    this.following = at === last;
    this.select(at);
  }
}

/** A select whose options come as they are met. */
class Choice {
  readonly node: HTMLSelectElement;
  private readonly met = new Set<string>();
  private added = 0;

  constructor(
    label: string,
    all: string,
    change: () => void,
    fixed: Readonly<Record<string, string>> = {},
  ) {
    this.node = make('select', { 'aria-label': label }, make('option', { value: '' }, all));
    for (const [value, text] of Object.entries(fixed))
      this.node.append(make('option', { value }, text));
    this.node.addEventListener('change', change);
  }

  get value(): string {
    return this.node.value;
  }

  offer(value: string): void {
    this.met.add(value);
  }

  draw(): void {
    if (this.met.size === this.added) return;
    for (const value of [...this.met].slice(this.added))
      this.node.append(make('option', { value }, value));
    this.added = this.met.size;
  }
}

/**
 * The top of the page: what this is, how it is connected, how far it is, and what was asked for.
 */
import type { LiveProgress } from '../live/live.js';
import type { ConnectionState } from './connection.js';
import { button, make, setText } from './dom.js';
import { seconds } from './format.js';
import { drawn, isPaused, setPaused } from './painter.js';

/** Characters of a fact from which on it is a long one. */
const LONG = 24;
const WHY_NOT = 'can be saved once the run has ended';

const states: Readonly<Record<ConnectionState, string>> = {
  connecting: 'connecting',
  live: 'live',
  lost: 'connection lost, trying again',
  ended: 'ended',
};

export class Header {
  readonly root: HTMLElement;
  private readonly title = make('h1');
  private readonly state = make('span', { class: 'state', role: 'status', hidden: true });
  private readonly elapsed = make('span', { class: 'dim elapsed' });
  private readonly facts = make('dl', { class: 'facts' });
  private readonly bar = make('progress', { 'aria-label': 'Progress' });
  private readonly under = make('span', { class: 'dim' });
  private readonly progress = make(
    'div',
    { class: 'progress', hidden: true },
    this.bar,
    this.under,
  );
  private readonly note = make('span', { class: 'dim', role: 'status' });
  private readonly saveButton: HTMLButtonElement;
  private readonly pauseButton: HTMLButtonElement;
  private isReady = false;
  private seconds = 0;
  private readonly passed: () => void;

  constructor(save: () => void) {
    this.saveButton = button('Save', 'Save this page as one file that needs no network', () => {
      setText(this.note, this.isReady ? '' : WHY_NOT);
      if (this.isReady) save();
    });
    this.pauseButton = button('Pause', 'Let the drawings stand still', () => {
      setPaused(this.pauseButton.getAttribute('aria-pressed') !== 'true');
      this.pauseButton.setAttribute('aria-pressed', String(isPaused()));
    });
    this.pauseButton.hidden = true;
    this.saveButton.hidden = true;
    const top = make(
      'div',
      { class: 'top' },
      this.title,
      this.state,
      this.elapsed,
      this.facts,
      this.note,
      this.pauseButton,
      this.saveButton,
    );
    this.root = make('header', {}, top, this.progress);
    this.passed = drawn(this.root, () => {
      if (this.seconds > 0) setText(this.elapsed, seconds(this.seconds));
    });
  }

  begin(title: string, facts: Readonly<Record<string, string | number>>): void {
    this.rename(title);
    // What may be long comes last: the line may be too short for all of it.
    const byLength = Object.entries(facts).sort(
      ([, a], [, b]) => Number(`${a}`.length > LONG) - Number(`${b}`.length > LONG),
    );
    const entries = byLength.map(([name, value]) =>
      make(
        'div',
        { class: `${value}`.length > LONG ? 'long' : '' },
        make('dt', {}, name),
        make('dd', { 'data-fact': name }, String(value)),
      ),
    );
    this.facts.replaceChildren(...entries);
    this.facts.title = Object.entries(facts)
      .map(([name, value]) => `${name}: ${value}`)
      .join('\n');
  }

  /** It turns out what it is about. */
  rename(title: string): void {
    document.title = title;
    setText(this.title, title);
  }

  /** @param how how it ended, in words */
  connection(state: ConnectionState, how = ''): void {
    this.state.hidden = false;
    this.state.dataset['state'] = state;
    setText(this.state, how === '' ? states[state] : `${states[state]}: ${how}`);
    if (state === 'ended') this.progress.hidden = true;
    this.pauseButton.hidden = state !== 'live' && !isPaused();
    if (state === 'ended') this.resume();
  }

  time(now: number): void {
    this.seconds = now;
    this.passed();
  }

  advance({ done, total, what }: LiveProgress): void {
    this.progress.hidden = false;
    this.bar.max = Math.max(1, total);
    this.bar.value = done;
    setText(this.under, `${done} of ${total}${what === '' ? '' : `: ${what}`}`);
  }

  /** There is something to save, or not yet. */
  offerSave(ready: boolean): void {
    this.isReady = ready;
    this.saveButton.hidden = false;
    this.saveButton.setAttribute('aria-disabled', String(!ready));
    if (ready) setText(this.note, '');
  }

  private resume(): void {
    setPaused(false);
    this.pauseButton.setAttribute('aria-pressed', 'false');
    this.pauseButton.hidden = true;
  }
}

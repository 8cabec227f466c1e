/** A history as text: a column for each actor, time goes down. */
import type { History } from './history.js';

const WIDTH = 40;
const GAP = 2;
/** A longer history is shown by its two ends. */
const STEPS_SHOWN = 100;
const STEPS_OF_AN_END = 20;

export function formatTimeline(actors: readonly string[], history: Pick<History, 'steps'>): string {
  const lines = [line(4, actors, (name) => name), line(4, actors, () => '─'.repeat(WIDTH))];
  const { length } = history.steps;
  const from = length > STEPS_SHOWN ? STEPS_OF_AN_END : length;
  const end = length - STEPS_OF_AN_END;
  history.steps.forEach((step, i) => {
    if (i === from) lines.push(`    … ${end - from} steps …`);
    if (i >= from && i < end) return;
    const column = actors.indexOf(step.actor);
    const texts = [
      ...wrap(step.what, 0),
      ...(step.place === null ? [] : wrap(`at ${step.place}`, 3)),
      ...step.changes.flatMap((change) => wrap(change, 3)),
    ];
    texts.forEach((text, row) => {
      const number = row === 0 ? `${`${i + 1}`.padStart(3)} ` : '';
      const indent = number.padEnd(4) + ' '.repeat(column * (WIDTH + GAP));
      lines.push(`${indent}${text}`);
    });
  });
  return lines.join('\n');
}

function line(indent: number, actors: readonly string[], text: (name: string) => string): string {
  return (
    ' '.repeat(indent) + actors.map((name) => text(name).padEnd(WIDTH + GAP)).join('')
  ).trimEnd();
}

function wrap(text: string, indent: number): string[] {
  const lines: string[] = [];
  let current = ' '.repeat(indent);
  for (const word of text.split(' ')) {
    if (current.trim() !== '' && current.length + word.length + 1 > WIDTH) {
      lines.push(current);
      current = ' '.repeat(indent + 2);
    }
    current += current.trim() === '' ? word : ` ${word}`;
  }
  lines.push(current);
  return lines;
}

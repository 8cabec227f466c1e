/** Names of numbers: a click explains one. */
import { glossary } from '../report/glossary.js';
import { make } from './dom.js';
import { words } from './format.js';
import { quiet, tell } from './tip.js';

/** Characters of a line of an explanation. */
const WIDTH = 56;

/** The name that `--json` gives a value, as words; a button where there is more to be said. */
export function named(name: string, label = words(name)): Node {
  const explanation = glossary[name] ?? glossary[name.replace(/(Percent|Change)$/, '')];
  if (explanation === undefined) return document.createTextNode(label);
  const node = make('button', { type: 'button', class: 'name', 'aria-expanded': 'false' }, label);
  const hide = (): void => {
    if (node.getAttribute('aria-expanded') === 'false') return;
    node.setAttribute('aria-expanded', 'false');
    quiet();
  };
  node.addEventListener('click', () => {
    if (node.getAttribute('aria-expanded') === 'true') {
      hide();
      return;
    }
    node.setAttribute('aria-expanded', 'true');
    const { bottom, left } = node.getBoundingClientRect();
    tell(left, bottom, wrapped(explanation));
  });
  node.addEventListener('blur', hide);
  node.addEventListener('pointerleave', hide);
  node.addEventListener('keydown', ({ key }) => {
    if (key === 'Escape') hide();
  });
  return node;
}

function wrapped(text: string): string[] {
  const lines = [''];
  for (const word of text.split(' ')) {
    const last = lines.at(-1)!;
    if (last === '') lines[lines.length - 1] = word;
    else if (last.length + word.length < WIDTH) lines[lines.length - 1] = `${last} ${word}`;
    else lines.push(word);
  }
  return lines;
}

/** The box beside the pointer that tells values, one for the page. */
import { make } from './dom.js';

const node = make('div', { id: 'tip', role: 'status', hidden: true });
const MARGIN = 4;
const AWAY = 14;

export function placeTip(parent: HTMLElement): void {
  parent.append(node);
}

export function tell(x: number, y: number, lines: readonly string[]): void {
  node.hidden = false;
  node.textContent = lines.join('\n');
  const box = node.getBoundingClientRect();
  const left = x + AWAY + box.width > innerWidth - MARGIN ? x - AWAY - box.width : x + AWAY;
  node.style.left = `${Math.max(MARGIN, left)}px`;
  node.style.top = `${Math.max(MARGIN, Math.min(y + AWAY, innerHeight - box.height - MARGIN))}px`;
}

export function quiet(): void {
  node.hidden = true;
}

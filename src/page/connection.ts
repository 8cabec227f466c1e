/** The messages of a live run, and the questions about it. */
import type { LiveMapColumn, LiveMessage, LiveTable } from '../live/live.js';
import type { Request } from './address-axis.js';

export type ConnectionState = 'connecting' | 'live' | 'lost' | 'ended';

const kinds: readonly LiveMessage['kind'][] = [
  'start',
  'sample',
  'calls',
  'progress',
  'report',
  'end',
];

/** Addresses are relative to the page's own, in which the token is. */
export class Connection {
  private readonly source = new EventSource('events');
  private ended = false;

  constructor(take: (message: LiveMessage) => void, tell: (state: ConnectionState) => void) {
    tell('connecting');
    for (const kind of kinds)
      this.source.addEventListener(kind, (event) => {
        const message = JSON.parse((event as MessageEvent<string>).data) as LiveMessage;
        if (message.kind === 'end') {
          this.ended = true;
          tell('ended');
        }
        take(message);
      });
    this.source.addEventListener('open', () => tell('live'));
    this.source.addEventListener('error', () => {
      if (!this.ended) tell('lost');
      else this.source.close();
    });
  }
}

/** How a range of the address space looks now. */
export function askMap(
  requests: readonly Request[],
): Promise<{ seconds: number; columns: LiveMapColumn[] }> {
  return ask(
    `map?segments=${requests.map(({ first, pages, rows }) => `${first}:${pages}:${rows}`).join(',')}`,
  );
}

export function askTable(first: number, pages: number): Promise<LiveTable> {
  return ask(`table?first=${first}&pages=${pages}`);
}

async function ask<Answer>(address: string): Promise<Answer> {
  const response = await fetch(address, { cache: 'no-store' });
  // 204: the run is too busy to say.
  if (response.status !== 200) throw new Error(`${response.status}`);
  return (await response.json()) as Answer;
}

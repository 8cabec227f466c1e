/** A live view to test against, and what is asked of it. */
import { type IncomingHttpHeaders, request } from 'node:http';
import { connect, type Socket } from 'node:net';
import type { LiveAnswer, LiveCall, LiveQuery, LiveSample } from '../../src/live/live.js';
import { type LiveView, openLiveView } from '../../src/ui/live-view.js';
import { until } from '../until.js';

export const PAGE = '<!doctype html><title>page</title>';

export const GRACE_MS = 500;

export const start = {
  kind: 'start',
  command: 'exec',
  title: 'iopf exec test',
  facts: {},
} as const;

/** A view whose source answers with the query itself, and keeps what it was asked. */
export async function openView(
  answer: (query: LiveQuery) => Promise<LiveAnswer | null> = (query) =>
    Promise.resolve(query as unknown as LiveAnswer),
): Promise<LiveView & { readonly asked: LiveQuery[] }> {
  const asked: LiveQuery[] = [];
  const source = {
    ask: (query: LiveQuery) => {
      asked.push(query);
      return answer(query);
    },
  };
  const view = await openLiveView({
    port: 0,
    html: PAGE,
    policy: "default-src 'none'",
    source,
    graceMs: GRACE_MS,
  });
  return Object.assign(view, { asked });
}

export function sample(seconds: number): LiveSample {
  const counters = { faults: Math.round(seconds * 1000) };
  const none = {
    mappedBytes: 0,
    residentBytes: 0,
    pinnedBytes: 0,
    latency: {},
    devices: [],
    incidents: { refused: [], lostInterrupts: [], failedCalls: [] },
    events: [],
    user: null,
    ranges: [],
  };
  return { kind: 'sample', seconds, counters, ...none };
}

export function call(number: number): LiveCall {
  return {
    number,
    seconds: number / 1000,
    pid: 1,
    call: 'close',
    descriptor: 960,
    text: `close(960) /* ${'x'.repeat(100)} */`,
    result: null,
    error: null,
    microseconds: 1,
  };
}

export interface Reply {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

/**
 * One request; `path` behind the address of the view, or from the root where it begins with a
 * slash.
 */
export function get(
  view: LiveView,
  path = '',
  options: { method?: string; headers?: Record<string, string> } = {},
): Promise<Reply> {
  const url = new URL(view.url);
  return new Promise((resolve, reject) => {
    const asking = request(
      {
        host: '127.0.0.1',
        port: url.port,
        path: path.startsWith('/') ? path : url.pathname + path,
        agent: false,
        ...options,
      },
      (response) => {
        let body = '';
        response.setEncoding('utf8').on('data', (text) => {
          body += text;
        });
        response.on('end', () =>
          resolve({ status: response.statusCode!, headers: response.headers, body }),
        );
        response.on('error', reject);
      },
    );
    asking.on('error', reject).end();
  });
}

export interface Heard {
  readonly kind: string;
  // biome-ignore lint/suspicious/noExplicitAny: whatever was said
  readonly data: any;
}

/** A page's ear: all that the view says, until `close`. */
export class Listening {
  readonly heard: Heard[] = [];
  private text = '';
  readonly socket: Socket;
  readonly closed: Promise<void>;

  constructor(url: string) {
    const { port, pathname } = new URL(url);
    this.socket = connect(Number(port), '127.0.0.1');
    this.socket.write(`GET ${pathname}events HTTP/1.0\r\nHost: 127.0.0.1:${port}\r\n\r\n`);
    this.socket.setEncoding('utf8').on('data', (text) => this.take(String(text)));
    this.socket.on('error', () => {});
    this.closed = new Promise((resolve) => {
      this.socket.on('close', () => resolve());
    });
  }

  of(kind: string): Heard[] {
    return this.heard.filter((event) => event.kind === kind);
  }

  async until(condition: (heard: readonly Heard[]) => boolean, what: string): Promise<void> {
    const heard = (): string => this.heard.map(({ kind }) => kind).join(' ');
    await until(
      () => condition(this.heard),
      () => `${what}; heard ${heard()}`,
    );
  }

  close(): void {
    this.socket.destroy();
  }

  private take(text: string): void {
    this.text += text;
    for (let end = this.text.indexOf('\n\n'); end >= 0; end = this.text.indexOf('\n\n')) {
      const [, kind, json] =
        /(?:^|\n)event: (\w+)\ndata: (.*)$/s.exec(this.text.slice(0, end)) ?? [];
      if (kind !== undefined) this.heard.push({ kind, data: JSON.parse(json!) });
      this.text = this.text.slice(end + 2);
    }
  }
}

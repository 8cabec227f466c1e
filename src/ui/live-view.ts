/**
 * A live view: one page on a loopback address, what it is sent and what it may ask. Read-only: no
 * request changes a run.
 *
 * What a browser does costs the run nothing: pages take what they are sent at their own pace,
 * connections, sizes and waiting questions are limited, and a request that makes no sense is
 * refused here.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { UserError } from '../input/user-error.js';
import type { LiveMessage, LiveSource } from '../live/live.js';
import { admit, makeToken } from './admission.js';
import { type Cursor, History } from './history.js';
import { parseQuery } from './query.js';

const CONNECTIONS_MOST = 64;
const PAGES_MOST = 16;
const QUESTIONS_MOST = 16;
const HEADERS_MOST_BYTES = 8192;
const HEADERS_TIMEOUT_MS = 5000;
const REQUEST_TIMEOUT_MS = 10_000;
const GRACE_MS = 5000;
/** What a browser waits before it asks for the events again. */
const RETRY_MS = 1000;

export interface LiveViewOptions {
  /** 0: any free one. */
  readonly port: number;
  /** The page, self-contained. */
  readonly html: string;
  /** Its Content-Security-Policy. */
  readonly policy: string;
  readonly source: LiveSource;
  /** How long a page that has gone may take to come back (a reload). Default 5000. */
  readonly graceMs?: number;
}

export interface LiveView {
  /** What the user opens. */
  readonly url: string;
  tell(message: LiveMessage): void;
  /**
   * Resolves once no page is connected and none has just left. `waitForFirst`: a page that has not
   * come yet is waited for.
   */
  lastPageGone(waitForFirst: boolean): Promise<void>;
  close(): void;
}

/** Serves a view on 127.0.0.1. Throws UserError where the port is not available. */
export async function openLiveView(options: LiveViewOptions): Promise<LiveView> {
  const view = new Serving(options);
  await view.listen();
  return view;
}

class Serving implements LiveView {
  private readonly history = new History();
  /** By connection, which belongs to the page's events alone. */
  private readonly pages = new Map<Socket, Page>();
  /** Connections, and those of them that have not shown the token, oldest first. */
  private readonly sockets = new Set<Socket>();
  private readonly strangers = new Set<Socket>();
  private readonly token = makeToken();
  private readonly server: Server;
  private readonly headers: Readonly<Record<string, string>>;
  private port = 0;
  private questions = 0;
  /** When a page was there last, in milliseconds; null: never. */
  private lastSeen: number | null = null;
  private pagesChanged: () => void = () => {};

  constructor(private readonly options: LiveViewOptions) {
    this.headers = safeHeaders(options.policy);
    const limits = {
      maxHeaderSize: HEADERS_MOST_BYTES,
      headersTimeout: HEADERS_TIMEOUT_MS,
      requestTimeout: REQUEST_TIMEOUT_MS,
      connectionsCheckingInterval: 1000,
    };
    this.server = createServer(limits, (request, response) => this.answer(request, response));
    this.server.on('connection', (socket) => this.connected(socket));
    this.server.on('clientError', (_, socket) => (socket as Socket).destroy());
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}/${this.token}/`;
  }

  async listen(): Promise<void> {
    const { server } = this;
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen({ host: '127.0.0.1', port: this.options.port }, resolve);
    }).catch((error: NodeJS.ErrnoException) => {
      throw new UserError(`cannot serve the live view on port ${this.options.port}: ${error.code}`);
    });
    server.removeAllListeners('error');
    // What goes wrong with the view from now on does not end the run.
    server.on('error', () => {});
    this.port = (server.address() as AddressInfo).port;
  }

  tell(message: LiveMessage): void {
    this.history.add(message);
    for (const page of this.pages.values()) page.pump();
  }

  lastPageGone(waitForFirst: boolean): Promise<void> {
    return new Promise((resolve) => {
      let timer: NodeJS.Timeout | undefined;
      const look = (): void => {
        clearTimeout(timer);
        if (this.pages.size > 0 || (this.lastSeen === null && waitForFirst)) return;
        const since = performance.now() - (this.lastSeen ?? Number.NEGATIVE_INFINITY);
        timer = setTimeout(resolve, Math.max(0, (this.options.graceMs ?? GRACE_MS) - since));
      };
      this.pagesChanged = look;
      look();
    });
  }

  close(): void {
    this.server.close();
    this.server.closeAllConnections();
  }

  /** Of too many, one that has not shown the token makes room: it is not the owner's. */
  private connected(socket: Socket): void {
    this.sockets.add(socket);
    this.strangers.add(socket);
    socket.once('close', () => {
      this.sockets.delete(socket);
      this.strangers.delete(socket);
    });
    if (this.sockets.size <= CONNECTIONS_MOST) return;
    for (const oldest of this.strangers) {
      oldest.destroy();
      return;
    }
  }

  private answer(request: IncomingMessage, response: ServerResponse): void {
    request.on('error', ignore);
    response.on('error', ignore);
    // Events have no end: nothing behind them on the same connection would ever be answered.
    if (this.pages.has(request.socket)) {
      request.socket.destroy();
      return;
    }
    const admission = admit(request, this.token, this.port);
    if ('refused' in admission) {
      this.refuse(response, admission.refused);
      return;
    }
    this.strangers.delete(request.socket);
    this.seen();
    const { path, query } = admission;
    const isPlain = query === '';
    if (path === '' && isPlain) this.sendPage(request, response);
    else if (path === 'events' && isPlain) this.sendEvents(request, response);
    else if (path === 'map' || path === 'table')
      void this.sendAnswer(path, query, request, response);
    else this.refuse(response, 404);
  }

  private sendPage(request: IncomingMessage, response: ServerResponse): void {
    // The page's own addresses are relative to its folder.
    if (!request.url!.endsWith('/')) {
      response.writeHead(308, { ...this.headers, Location: `/${this.token}/` }).end();
      return;
    }
    this.send(request, response, 'text/html; charset=utf-8', this.options.html);
  }

  private sendEvents(request: IncomingMessage, response: ServerResponse): void {
    if (this.pages.size >= PAGES_MOST) {
      this.refuse(response, 503);
      return;
    }
    response.writeHead(200, { ...this.headers, 'Content-Type': 'text/event-stream' });
    if (request.method === 'HEAD') {
      response.end();
      return;
    }
    response.write(`retry: ${RETRY_MS}\n\n`);
    const page = new Page(response, this.history);
    const { socket } = request;
    this.pages.set(socket, page);
    this.pagesChanged();
    // The response itself would not hear of it while another one on its connection is before it.
    socket.once('close', () => {
      this.pages.delete(socket);
      this.seen();
    });
    page.pump();
  }

  private async sendAnswer(
    path: 'map' | 'table',
    text: string,
    request: IncomingMessage,
    response: ServerResponse,
  ): Promise<void> {
    const query = parseQuery(path, text);
    if (query === null) {
      this.refuse(response, 400);
      return;
    }
    let found: object | null = null;
    if (this.questions < QUESTIONS_MOST) {
      this.questions++;
      found = await this.options.source.ask(query).catch(() => null);
      this.questions--;
    }
    // No error: browsers would log one each time that a run is busy.
    if (found === null) response.writeHead(204, this.headers).end();
    else this.send(request, response, 'application/json', JSON.stringify(found));
  }

  private send(
    request: IncomingMessage,
    response: ServerResponse,
    type: string,
    body: string,
  ): void {
    const length = Buffer.byteLength(body);
    response.writeHead(200, { ...this.headers, 'Content-Type': type, 'Content-Length': length });
    response.end(request.method === 'HEAD' ? undefined : body);
  }

  private refuse(response: ServerResponse, status: number): void {
    const allow: Record<string, string> = status === 405 ? { Allow: 'GET, HEAD' } : {};
    response.writeHead(status, {
      ...this.headers,
      ...allow,
      'Content-Type': 'text/plain',
      Connection: 'close',
    });
    response.end(`${status}\n`);
  }

  private seen(): void {
    this.lastSeen = performance.now();
    this.pagesChanged();
  }
}

/** A page that listens. It is written to while it reads, and no more than that waits here. */
class Page {
  private readonly cursor: Cursor;

  constructor(
    private readonly response: ServerResponse,
    private readonly history: History,
  ) {
    this.cursor = history.cursor();
    response.on('drain', () => this.pump());
  }

  pump(): void {
    while (!this.response.writableNeedDrain && !this.response.destroyed) {
      const text = this.history.next(this.cursor);
      if (text === null) return;
      this.response.write(text);
    }
  }
}

/**
 * Nothing but the page's own scripts and styles, no other server, no frame around it, no trace of
 * its address elsewhere.
 */
function safeHeaders(policy: string): Record<string, string> {
  return {
    'Content-Security-Policy': `${policy}; frame-ancestors 'none'`,
    'X-Content-Type-Options': 'nosniff',
    'X-Frame-Options': 'DENY',
    'Referrer-Policy': 'no-referrer',
    'Cross-Origin-Opener-Policy': 'same-origin',
    'Cross-Origin-Resource-Policy': 'same-origin',
    'Cache-Control': 'no-store',
  };
}

function ignore(): void {
  // The connection is gone, which its close says.
}

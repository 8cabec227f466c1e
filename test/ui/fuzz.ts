/**
 * Requests that make no sense, from a seed: what a broken or hostile client could send to a live
 * view.
 */
import { connect } from 'node:net';

const AT_ONCE = 24;
/** How long an answer is waited for, and how long a connection is left that does not want one. */
const ANSWER_MS = 500;
const IMPATIENT_MS = 20;

/** Numbers from 0 to below 1; the same for the same seed (mulberry32). */
function randomNumbers(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

class Requests {
  private readonly random: () => number;

  constructor(
    seed: number,
    private readonly host: string,
    private readonly folder: string,
  ) {
    this.random = randomNumbers(seed);
  }

  /** What is written to a socket. */
  next(): Buffer {
    const form = this.random();
    if (form < 0.1) return this.bytes(this.upTo(4000));
    const request = Buffer.from(this.request(), 'latin1');
    if (form < 0.2) return request.subarray(0, this.upTo(request.length));
    if (form < 0.35) return this.damaged(request);
    if (form < 0.45) return Buffer.concat(Array.from({ length: 1 + this.upTo(20) }, () => request));
    return request;
  }

  upTo(end: number): number {
    return Math.floor(this.random() * end);
  }

  private request(): string {
    const method = this.one([
      'GET',
      'GET',
      'GET',
      'GET',
      'HEAD',
      'POST',
      'CONNECT',
      'OPTIONS',
      'get',
      'G\0T',
      '',
    ]);
    const version = this.one(['HTTP/1.1', 'HTTP/1.1', 'HTTP/1.1', 'HTTP/1.0', 'HTTP/2.0', '']);
    const host = this.one([
      this.host,
      this.host,
      this.host,
      'evil.example',
      '',
      `${this.host}, ${this.host}`,
    ]);
    const headers = [`Host: ${host}`, ...Array.from({ length: this.upTo(3) }, () => this.header())];
    return `${method} ${this.address()} ${version}\r\n${headers.join('\r\n')}\r\n\r\n${this.body()}`;
  }

  private address(): string {
    const { folder } = this;
    const start = this.one([
      folder,
      folder,
      folder,
      folder,
      '/',
      '/../',
      '//',
      `http://${this.host}/`,
    ]);
    const path = this.one([
      '',
      'events',
      'map',
      'table',
      'map',
      'table',
      'other',
      '%',
      '%00',
      '..',
      '%2e%2e/',
      '?',
    ]);
    switch (this.upTo(4)) {
      case 0:
        return start + path;
      case 1:
        return `${start}${path}?`;
      case 2:
        return `${start}${path}?segments=${this.segments()}`;
      default:
        return `${start}${path}?first=${this.number()}&pages=${this.number()}`;
    }
  }

  private segments(): string {
    const segment = (): string => `${this.number()}:${this.number()}:${this.number()}`;
    const most = this.one([1, 1, 2, 18]);
    return Array.from({ length: 1 + this.upTo(most) }, segment).join(
      this.one([',', ',', '%2C', ';', '&']),
    );
  }

  private number(): string {
    if (this.random() < 0.7) return `${1 + this.upTo(200)}`;
    if (this.random() < 0.3) return `${this.upTo(2 ** 37)}`;
    return this.one([
      '-1',
      '1e9',
      '0x10',
      'NaN',
      '',
      '%',
      '9'.repeat(1 + this.upTo(400)),
      '0'.repeat(1000),
      '\xd9\xa3',
    ]);
  }

  private header(): string {
    const header = this.one([
      'Origin: http://evil.example',
      'Sec-Fetch-Site: cross-site',
      'Transfer-Encoding: chunked',
      'Transfer-Encoding: gzip, chunked, chunked',
      'Content-Length: ',
      'Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: eA==',
      'Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk',
      'Expect: 100-continue',
      'Accept-Encoding: \0',
      'Last-Event-ID: -1',
      'Range: bytes=0-18446744073709551615',
      'X: ',
      ' folded: ',
      ': no name',
    ]);
    if (header === 'X: ') return header + 'x'.repeat(this.upTo(12_000));
    return header.endsWith(' ') ? header + this.number() : header;
  }

  private body(): string {
    const body = this.one(['', '', '', 'ffffffffffffffff\r\n', '5\r\nhello\r\n0\r\n\r\n', 'long']);
    return body === 'long' ? 'x'.repeat(this.upTo(70_000)) : body;
  }

  private damaged(request: Buffer): Buffer {
    const damaged = Buffer.from(request);
    for (let left = 1 + this.upTo(8); left > 0; left--)
      damaged[this.upTo(damaged.length)] = this.upTo(256);
    return damaged;
  }

  private bytes(count: number): Buffer {
    return Buffer.from(Array.from({ length: count }, () => this.upTo(256)));
  }

  private one<Value>(values: readonly Value[]): Value {
    return values[this.upTo(values.length)]!;
  }
}

/**
 * Sends `count` requests to the view at `url`, some at a time. Connections end in all ways: read to
 * the answer, reset in the middle, left open without being read. Returns the status codes that came
 * back, with how often each did.
 */
export async function fuzz(url: string, seed: number, count: number): Promise<Map<string, number>> {
  const { host, port, pathname } = new URL(url);
  const requests = new Requests(seed, host, pathname);
  const answers = new Map<string, number>();
  let left = count;
  const lane = async (): Promise<void> => {
    while (left-- > 0) {
      const status = await send(Number(port), requests.next(), requests.upTo(8));
      answers.set(status, (answers.get(status) ?? 0) + 1);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, lane));
  return answers;
}

/** The status of the answer: `none` where there is none. */
function send(port: number, bytes: Buffer, ending: number): Promise<string> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    let status = 'none';
    const timer = setTimeout(() => socket.destroy(), ending > 2 ? ANSWER_MS : IMPATIENT_MS);
    socket.on('data', (data) => {
      status = /^HTTP\/1\.1 (\d+)/.exec(data.toString('latin1'))?.[1] ?? status;
      if (ending > 2) socket.destroy();
    });
    socket.on('error', () => {});
    socket.on('close', () => {
      clearTimeout(timer);
      resolve(status);
    });
    socket.write(bytes, () => {
      if (ending === 1) socket.resetAndDestroy();
      if (ending === 2) socket.pause();
    });
  });
}

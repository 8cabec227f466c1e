/**
 * The server of a live view: who is let in, what a page gets, and that no page costs the run
 * anything.
 */
import { ServerResponse } from 'node:http';
import { connect, createServer } from 'node:net';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { UserError } from '../../src/input/user-error.js';
import type { LiveView } from '../../src/ui/live-view.js';
import { openLiveView } from '../../src/ui/live-view.js';
import { until } from '../until.js';
import { fuzz } from './fuzz.js';
import { call, GRACE_MS, get, Listening, openView, PAGE, sample, start } from './view.js';

const open: { close(): void }[] = [];
afterEach(() => {
  for (const one of open.splice(0)) one.close();
});

async function view(...arguments_: Parameters<typeof openView>): ReturnType<typeof openView> {
  const made = await openView(...arguments_);
  open.push(made);
  return made;
}

function listen(to: LiveView): Listening {
  const listening = new Listening(to.url);
  open.push(listening);
  return listening;
}

const port = (of: LiveView): string => new URL(of.url).port;

describe('who is let in:', () => {
  test('the address has 192 bits that nobody can guess, and is on loopback', async () => {
    const one = await view();
    const other = await view();
    expect(one.url).toMatch(/^http:\/\/127\.0\.0\.1:\d+\/[\w-]{32}\/$/);
    expect(new URL(one.url).pathname).not.toBe(new URL(other.url).pathname);
  });

  test('the page is served to its address, with headers that keep others out', async () => {
    const served = await view();
    const reply = await get(served);
    expect(reply).toMatchObject({ status: 200, body: PAGE });
    expect(reply.headers).toMatchObject({
      'content-type': 'text/html; charset=utf-8',
      'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
      'x-content-type-options': 'nosniff',
      'x-frame-options': 'DENY',
      'referrer-policy': 'no-referrer',
      'cross-origin-resource-policy': 'same-origin',
      'cache-control': 'no-store',
    });
    expect(await get(served, '', { method: 'HEAD' })).toMatchObject({ status: 200, body: '' });
  });

  test('the address without its last slash leads to it, so that relative addresses are right', async () => {
    const served = await view();
    const { pathname } = new URL(served.url);
    const reply = await get(served, pathname.slice(0, -1));
    expect(reply).toMatchObject({ status: 308, headers: { location: pathname } });
  });

  test.each([
    ['no token', '/'],
    ['no token for the events', '/events'],
    ['a token that is too short', '/abc/'],
    ['another token', `/${'A'.repeat(32)}/`],
    ['the token not first', '/x/../'],
  ])('%s: 404, and nothing of the page', async (_, path) => {
    const reply = await get(await view(), path);
    expect(reply).toMatchObject({ status: 404, body: '404\n' });
  });

  test('a token that differs in its last character is refused', async () => {
    const served = await view();
    const { pathname } = new URL(served.url);
    const last = pathname.at(-2) === 'A' ? 'B' : 'A';
    expect(await get(served, `${pathname.slice(0, -2)}${last}/`)).toMatchObject({ status: 404 });
  });

  test.each([
    'evil.example',
    'evil.example:80',
    '127.0.0.1',
    'localhost',
    '127.0.0.1:1',
    '0.0.0.0:PORT',
    '[::1]:PORT',
    'localhost.evil.example:PORT',
  ])('another Host is refused, which stops DNS rebinding: %s', async (host) => {
    const served = await view();
    const headers = { Host: host.replace('PORT', port(served)) };
    expect(await get(served, '', { headers })).toMatchObject({ status: 403, body: '403\n' });
    expect(await get(served, 'events', { headers })).toMatchObject({ status: 403 });
  });

  test('localhost is let in as well', async () => {
    const served = await view();
    const headers = { Host: `localhost:${port(served)}` };
    expect(await get(served, '', { headers })).toMatchObject({ status: 200 });
  });

  test.each(['http://evil.example', 'null', 'http://127.0.0.1:1', 'https://127.0.0.1:PORT', ''])(
    'another Origin is refused: "%s"',
    async (origin) => {
      const served = await view();
      const headers = { Origin: origin.replace('PORT', port(served)) };
      expect(await get(served, '', { headers })).toMatchObject({ status: 403 });
      expect(await get(served, 'table?first=0&pages=1', { headers })).toMatchObject({
        status: 403,
      });
      expect(served.asked).toEqual([]);
    },
  );

  test('its own Origin is let in', async () => {
    const served = await view();
    const headers = { Origin: `http://127.0.0.1:${port(served)}`, 'Sec-Fetch-Site': 'same-origin' };
    expect(await get(served, '', { headers })).toMatchObject({ status: 200 });
  });

  test.each(['cross-site', 'same-site', 'anything'])('what %s asks is refused', async (site) => {
    const headers = { 'Sec-Fetch-Site': site };
    expect(await get(await view(), '', { headers })).toMatchObject({ status: 403 });
  });

  test.each(['POST', 'PUT', 'DELETE', 'PATCH', 'OPTIONS', 'TRACE'])(
    '%s is refused',
    async (method) => {
      const reply = await get(await view(), '', { method });
      expect(reply).toMatchObject({ status: 405, headers: { allow: 'GET, HEAD' } });
    },
  );

  test('connections that ask for nothing cannot keep the owner out, however many there are', async () => {
    const served = await view();
    const idle = Array.from({ length: 200 }, () => connect(Number(port(served)), '127.0.0.1'));
    for (const socket of idle) {
      socket.on('error', () => {}).resume();
      open.push({ close: () => socket.destroy() });
    }
    await Promise.all(idle.map((socket) => new Promise((done) => socket.once('connect', done))));
    expect((await get(served, '')).status).toBe(200);
    // Those beyond 64 are gone; the owner's own is none of them.
    await until(
      () => idle.filter((socket) => !socket.destroyed).length <= 64,
      () => 'idle connections are still there',
    );
    expect((await get(served, '')).status).toBe(200);
  });

  test('a port that is taken is one message for the user', async () => {
    const other = createServer();
    await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve));
    open.push(other);
    const { port: taken } = other.address() as { port: number };
    const source = { ask: () => Promise.resolve(null) };
    const opening = openLiveView({ port: taken, html: '', policy: '', source });
    await expect(opening).rejects.toThrow(UserError);
    await expect(opening).rejects.toThrow(
      `cannot serve the live view on port ${taken}: EADDRINUSE`,
    );
  });
});

describe('what is asked:', () => {
  test('a map and a table reach the engine as numbers', async () => {
    const served = await view();
    await get(served, 'map?segments=0:68719476736:255,256:64:1');
    await get(served, 'table?first=68719476735&pages=1');
    expect(served.asked).toEqual([
      {
        about: 'map',
        segments: [
          { first: 0, pages: 2 ** 36, rows: 255 },
          { first: 256, pages: 64, rows: 1 },
        ],
      },
      { about: 'table', first: 2 ** 36 - 1, pages: 1 },
    ]);
  });

  test.each([
    'map',
    'map?',
    'map?segments=',
    'map?segments=0:1',
    'map?segments=0:0:1',
    'map?segments=0:1:0',
    'map?segments=0:1:257',
    'map?segments=0:1:200,0:1:200',
    'map?segments=-1:1:1',
    'map?segments=1e3:1:1',
    'map?segments=0x10:1:1',
    'map?segments=68719476736:1:1',
    'map?segments=0:99999999999:1',
    'map?segments=0:999999999999999999999:1',
    `map?segments=${Array(17).fill('0:1:1').join(',')}`,
    'map?segments=0:1:1&more=1',
    'map?first=0&pages=1&rows=1',
    'table',
    'table?first=0',
    'table?first=0&pages=65537',
    'table?first=0&pages=0',
    'table?first=NaN&pages=1',
    'table?pages=1&first=0',
    'table?first=68719476736&pages=1',
    'table?first=0&first=0&pages=1',
  ])('%s is refused, and the engine hears nothing of it', async (path) => {
    const served = await view();
    expect(await get(served, path)).toMatchObject({ status: 400, body: '400\n' });
    expect(served.asked).toEqual([]);
  });

  test('an address that is too long, and one that is not there', async () => {
    const served = await view();
    expect(await get(served, `map?segments=${'1'.repeat(600)}`)).toMatchObject({ status: 414 });
    expect(await get(served, 'other')).toMatchObject({ status: 404 });
    expect(await get(served, '?x')).toMatchObject({ status: 404 });
    expect(await get(served, 'events?x')).toMatchObject({ status: 404 });
  });

  test('where the engine does not answer, at most 16 questions wait; the others are told to come later', async () => {
    let answer: () => void = () => {};
    const ready = new Promise<null>((resolve) => {
      answer = () => resolve(null);
    });
    const served = await view(() => ready);
    const replies = Array.from({ length: 20 }, () => get(served, 'table?first=0&pages=1'));
    let early = 0;
    for (const reply of replies) void reply.then(() => early++);
    await until(() => served.asked.length + early === 20, 'all have arrived');
    expect(served.asked).toHaveLength(16);
    answer();
    for (const reply of await Promise.all(replies)) expect(reply.status).toBe(204);
    await get(served, 'table?first=0&pages=1');
    expect(served.asked).toHaveLength(17);
  });
});

describe('what a page is told:', () => {
  test('start, then all that comes, as server-sent events', async () => {
    const served = await view();
    served.tell(start);
    const page = listen(served);
    await page.until((heard) => heard.length === 1, 'start');
    served.tell(sample(1));
    served.tell({ kind: 'calls', calls: [call(0)], total: 1 });
    served.tell({ kind: 'progress', done: 1, total: 2, what: 'it' });
    served.tell({ kind: 'report', report: { title: 'x' } });
    served.tell({ kind: 'end', seconds: 2, how: 'exit code 0', summary: null });
    await page.until((heard) => heard.at(-1)?.kind === 'end', 'end');
    expect(page.heard).toEqual([
      { kind: 'start', data: start },
      { kind: 'sample', data: sample(1) },
      { kind: 'calls', data: { kind: 'calls', calls: [call(0)], total: 1 } },
      { kind: 'progress', data: { kind: 'progress', done: 1, total: 2, what: 'it' } },
      { kind: 'report', data: { kind: 'report', report: { title: 'x' } } },
      { kind: 'end', data: { kind: 'end', seconds: 2, how: 'exit code 0', summary: null } },
    ]);
  });

  test('a page that comes late gets the run so far: thinned samples to the newest, and the newest 20,000 calls', async () => {
    const served = await view();
    served.tell(start);
    for (let at = 1; at <= 10_001; at++) served.tell(sample(at));
    for (let at = 0; at < 25_000; at += 250) {
      const calls = Array.from({ length: 250 }, (_, index) => call(at + index));
      served.tell({ kind: 'calls', calls, total: at + 250 });
    }
    served.tell({ kind: 'progress', done: 1, total: 2, what: 'old' });
    served.tell({ kind: 'progress', done: 2, total: 2, what: 'new' });
    served.tell({ kind: 'end', seconds: 2, how: 'exit code 0', summary: null });
    const page = listen(served);
    await page.until((heard) => heard.at(-1)?.kind === 'end', 'end');

    const seconds = page.of('sample').map(({ data }) => data.seconds);
    expect(seconds.length).toBeLessThanOrEqual(1025);
    expect(seconds.length).toBeGreaterThan(500);
    expect(seconds.at(-1)).toBe(10_001);
    const steps = new Set(seconds.slice(1, -1).map((value, index) => value - seconds[index]));
    expect([...steps]).toEqual([16]);

    const numbers = page
      .of('calls')
      .flatMap(({ data }) => data.calls.map(({ number }: { number: number }) => number));
    expect(numbers).toEqual(Array.from({ length: 20_000 }, (_, index) => 5000 + index));
    expect(page.of('calls').at(-1)?.data.total).toBe(25_000);
    expect(page.of('progress').map(({ data }) => data.what)).toEqual(['new']);
    expect(page.heard[0]!.kind).toBe('start');
  });

  test('HEAD of the events is no page', async () => {
    const served = await view();
    const reply = await get(served, 'events', { method: 'HEAD' });
    expect(reply).toMatchObject({ status: 200, headers: { 'content-type': 'text/event-stream' } });
    await served.lastPageGone(false);
  });

  test('the seventeenth page at once is told to come later', async () => {
    const served = await view();
    served.tell(start);
    const pages = Array.from({ length: 16 }, () => listen(served));
    for (const page of pages) await page.until((heard) => heard.length === 1, 'start');
    expect(await get(served, 'events')).toMatchObject({ status: 503 });
    pages[0]!.close();
    const isFree = async () => (await get(served, 'events', { method: 'HEAD' })).status === 200;
    await until(isFree, 'the view sees that it is gone');
    const again = listen(served);
    await again.until((heard) => heard.length === 1, 'start');
  });
});

describe('a page that stops reading', () => {
  /** A message of calls, and what a response takes before it asks to wait. */
  const WAITING_MOST = 256 * 1024;

  test('is sent no more than fits on the way, and goes on with the newest when it reads again', async () => {
    const served = await view();
    served.tell(start);
    const page = listen(served);
    await page.until((heard) => heard.length === 1, 'start');
    page.socket.pause();
    const write = vi.spyOn(ServerResponse.prototype, 'write');
    open.push({ close: () => write.mockRestore() });
    let waiting = 0;
    // 120 MB of messages, 30 times what the history keeps.
    for (let round = 0; round < 60; round++) {
      for (let at = 0; at < 40; at++) {
        const first = (round * 40 + at) * 250;
        served.tell(sample(round * 40 + at + 1));
        const calls = Array.from({ length: 250 }, (_, index) => call(first + index));
        served.tell({ kind: 'calls', calls, total: first + 250 });
      }
      await new Promise((later) => setImmediate(later));
      for (const response of write.mock.contexts as ServerResponse[])
        waiting = Math.max(waiting, response.writableLength);
    }
    expect(waiting).toBeGreaterThan(0);
    expect(waiting).toBeLessThan(WAITING_MOST);
    served.tell({ kind: 'end', seconds: 2, how: 'exit code 0', summary: null });
    page.socket.resume();
    await page.until((heard) => heard.at(-1)?.kind === 'end', 'end');
    const numbers = page
      .of('calls')
      .flatMap(({ data }) => data.calls.map(({ number }: { number: number }) => number));
    expect(numbers.at(-1)).toBe(599_999);
    expect(numbers.length).toBeLessThan(200_000);
    expect([...numbers].sort((a, b) => a - b)).toEqual(numbers);
    expect(page.of('sample').at(-1)?.data.seconds).toBe(2400);
  });

  test('or dies does not keep others from hearing', async () => {
    const served = await view();
    served.tell(start);
    const [silent, dead, good] = [listen(served), listen(served), listen(served)];
    for (const page of [silent, dead, good])
      await page.until((heard) => heard.length === 1, 'start');
    silent.socket.pause();
    dead.socket.resetAndDestroy();
    for (let at = 1; at <= 100; at++) served.tell(sample(at));
    await good.until((heard) => heard.length === 101, 'samples');
  });
});

describe('how long it stays', () => {
  test('whatever was asked, no connection and no page is left once those who asked are gone', async () => {
    const served = await view();
    served.tell(start);
    await fuzz(served.url, 2, 1500);
    await served.lastPageGone(false);
    expect(await get(served, 'table?first=0&pages=1')).toMatchObject({ status: 200 });
  });

  test('pages that were asked for behind one another on a connection are gone with it', async () => {
    const served = await view();
    served.tell(start);
    const { pathname, host } = new URL(served.url);
    const socket = connect(Number(port(served)), '127.0.0.1');
    open.push({ close: () => socket.destroy() });
    const closed = new Promise((done) => socket.resume().on('close', done));
    socket.on('error', () => {});
    socket.write(`GET ${pathname}events HTTP/1.1\r\nHost: ${host}\r\n\r\n`.repeat(5));
    // Who asks for more behind events, which have no end, is hung up on.
    await closed;
    await served.lastPageGone(false);
  });
});

describe('how long it stays, by the clock:', () => {
  beforeEach(() => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] });
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  /** Resolves once the time for a reload has begun: the view has seen its last page go. */
  const lastGone = (): Promise<void> =>
    until(() => vi.getTimerCount() === 1, 'the view sees that its last page has gone');

  test('no page was there, and none is waited for: it goes at once', async () => {
    const leaving = (await view()).lastPageGone(false);
    vi.advanceTimersByTime(0);
    await leaving;
  });

  test('while a page is there, and some time for a reload', async () => {
    const served = await view();
    served.tell(start);
    const page = listen(served);
    await page.until((heard) => heard.length === 1, 'start');
    let gone = false;
    const leaving = served.lastPageGone(false).then(() => {
      gone = true;
    });
    await vi.advanceTimersByTimeAsync(10 * GRACE_MS);
    expect(gone).toBe(false);
    page.close();
    await lastGone();
    await vi.advanceTimersByTimeAsync(GRACE_MS - 1);
    expect(gone).toBe(false);
    const again = listen(served);
    await again.until((heard) => heard.length === 1, 'start');
    await vi.advanceTimersByTimeAsync(10 * GRACE_MS);
    expect(gone).toBe(false);
    again.close();
    await lastGone();
    await vi.advanceTimersByTimeAsync(GRACE_MS - 1);
    expect(gone).toBe(false);
    await vi.advanceTimersByTimeAsync(1);
    await leaving;
  });

  test('where the first page is waited for, until that has come and gone', async () => {
    const served = await view();
    served.tell(start);
    let gone = false;
    const leaving = served.lastPageGone(true).then(() => {
      gone = true;
    });
    await vi.advanceTimersByTimeAsync(10 * GRACE_MS);
    expect(gone).toBe(false);
    // What is refused is no page.
    await get(served, '/');
    await vi.advanceTimersByTimeAsync(10 * GRACE_MS);
    expect(gone).toBe(false);
    const page = listen(served);
    await page.until((heard) => heard.length === 1, 'start');
    page.close();
    await lastGone();
    expect(gone).toBe(false);
    await vi.advanceTimersByTimeAsync(GRACE_MS);
    await leaving;
  });
});

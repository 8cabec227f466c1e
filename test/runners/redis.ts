/** A Redis of a test's own, and the built command beside it (npm test builds first). */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { until } from '../until.js';

const main = resolve('dist/bundle/iopf.cjs');

export class TestRedis {
  readonly folder = mkdtempSync(join(tmpdir(), 'iopf-redis-'));
  private server: ChildProcess | null = null;

  private constructor(
    readonly port: number,
    private readonly words: readonly string[],
  ) {}

  /** `words` are options of redis-server beside the port. */
  static async start(...words: string[]): Promise<TestRedis> {
    const redis = new TestRedis(await freePort(), words);
    await redis.begin();
    return redis;
  }

  get url(): string {
    return `redis://127.0.0.1:${this.port}`;
  }

  async begin(): Promise<void> {
    const own = ['--port', String(this.port), '--bind', '127.0.0.1', '--dir', this.folder];
    this.server = spawn('redis-server', [...own, '--save', '', ...this.words]);
    let said = '';
    this.server.stdout!.on('data', (chunk) => (said += chunk));
    await until(
      () => said.includes('Ready to accept connections'),
      () => said,
    );
  }

  async kill(): Promise<void> {
    const { server } = this;
    this.server = null;
    if (server === null || server.exitCode !== null) return;
    server.kill('SIGKILL');
    await once(server, 'exit');
  }

  async end(): Promise<void> {
    await this.kill();
    rmSync(this.folder, { recursive: true });
  }

  say(...words: string[]): string {
    const port = ['-p', String(this.port)];
    return execFileSync('redis-cli', [...port, ...words], { encoding: 'utf8' }).trim();
  }

  /** Keys that are there beside those by which workers say that they are. */
  keys(): string[] {
    const all = this.say('keys', '*').split('\n');
    return all.filter((key) => key !== '' && !key.startsWith('iopf:worker:'));
  }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  server.close();
  await once(server, 'close');
  return port;
}

export class Iopf {
  out = '';
  error = '';
  readonly child: ChildProcess;
  readonly ended: Promise<number | null>;

  constructor(words: readonly string[], env: Readonly<Record<string, string>> = {}) {
    this.child = spawn(process.execPath, [main, ...words], { env: { ...process.env, ...env } });
    this.child.stdout!.on('data', (chunk) => (this.out += chunk));
    this.child.stderr!.on('data', (chunk) => (this.error += chunk));
    this.ended = once(this.child, 'close').then(([code]) => code);
  }

  /** The exit code is `code`, or what was said is thrown. */
  async endsWith(code: number): Promise<this> {
    const was = await this.ended;
    if (was !== code) throw new Error(`exit code ${was}: ${this.error}${this.out}`);
    return this;
  }

  /** Kills it, whatever it does. */
  async kill(): Promise<void> {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return;
    this.child.kill('SIGKILL');
    await this.ended;
  }
}

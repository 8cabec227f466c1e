/**
 * What `--ui` costs `qemu-img bench`: without it, with it and nobody looking, and with a page open;
 * pairs in one run.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { median } from './figures.js';

const iopf = join(resolve(import.meta.dirname, '../..'), 'dist/bundle/iopf.cjs');
const NVME = '0000:02:00.0';
const DEPTH = 32;
const BYTES = 4096;
const BROWSER_START_SECONDS = 5;

type Looker = 'without' | 'nobody' | 'page';

/** Requests per second of one run. */
async function requestsPerSecond(
  looker: Looker,
  count: number,
  browser: string | null,
): Promise<number> {
  const bench = `qemu-img bench -f raw -t none -c ${count} -d ${DEPTH} -s ${BYTES} nvme://${NVME}/1`;
  const options = [
    ...(looker === 'without' ? [] : ['--ui']),
    '--quiet',
    '--device',
    `nvme@${NVME},size=256M`,
  ];
  // A browser starts meanwhile: what is measured is a page that is open.
  const program = ['sh', '-c', `sleep ${BROWSER_START_SECONDS}; exec ${bench}`];
  const run = spawn(process.execPath, [iopf, 'exec', ...options, '--', ...program]);
  let stdout = '';
  let stderr = '';
  let watching: { end(): void } | null = null;
  run.stdout.on('data', (text) => {
    stdout += text;
    // The program is over: iopf waits for the page to close.
    if (/Run completed/.test(stdout)) watching?.end();
  });
  run.stderr.on('data', (text) => {
    stderr += text;
    const url = /at (\S+)/.exec(stderr)?.[1];
    if (looker === 'page' && url !== undefined) watching ??= watch(url, browser);
  });
  const code = await new Promise((done) => run.on('close', done));
  const seconds = /Run completed in ([\d.]+) seconds/.exec(stdout)?.[1];
  if (code !== 0 || seconds === undefined) throw new Error(`qemu-img bench: ${stderr}`);
  return count / Number(seconds);
}

/**
 * Opens the view, as a browser or, where there is none, as a client that reads it and asks as the
 * page does.
 */
function watch(url: string, browser: string | null): { end(): void } {
  if (browser === null) {
    const stopping = new AbortController();
    void read(url, stopping.signal).catch(() => {});
    const asking = setInterval(() => {
      const segments = '16:292:128,134217728:1:1';
      fetch(`${url}map?segments=${segments}`)
        .then((reply) => reply.text())
        .catch(() => {});
    }, 250);
    return {
      end: () => {
        clearInterval(asking);
        stopping.abort();
      },
    };
  }
  const profile = mkdtempSync(join(tmpdir(), 'bench-live-'));
  const quiet = ['--disable-background-networking', '--disable-component-update', '--disable-sync'];
  const flags = ['--headless=new', '--no-sandbox', '--disable-gpu', '--no-first-run', ...quiet];
  const child: ChildProcess = spawn(browser, [...flags, `--user-data-dir=${profile}`, url], {
    stdio: 'ignore',
    detached: true,
  });
  return {
    end: () => {
      process.kill(-child.pid!, 'SIGKILL');
      setTimeout(() => rmSync(profile, { recursive: true, force: true, maxRetries: 5 }), 500);
    },
  };
}

async function read(url: string, signal: AbortSignal): Promise<void> {
  const { body } = await fetch(`${url}events`, { signal });
  for await (const _ of body!);
}

export async function benchLive(rounds: number): Promise<void> {
  if (spawnSync('qemu-img', ['--version']).status !== 0) {
    console.log(
      'SKIPPED: live: no qemu-img on this machine (Debian: qemu-utils, qemu-block-extra)',
    );
    return;
  }
  const browser =
    spawnSync('sh', ['-c', 'command -v chromium'], { encoding: 'utf8' }).stdout.trim() || null;
  const count = Number(process.env['IOPF_BENCH_REQUESTS'] ?? 2_000_000);
  const page =
    browser === null ? 'an event stream read (no chromium here)' : 'a page in headless chromium';
  console.log(
    `\nqemu-img bench, 4 KiB reads, depth ${DEPTH}, ${count} requests, medians of ${rounds} rounds: ${page}`,
  );
  const rates: Record<Looker, number[]> = { without: [], nobody: [], page: [] };
  for (let round = 0; round < rounds; round++)
    for (const looker of Object.keys(rates) as Looker[])
      rates[looker].push(await requestsPerSecond(looker, count, browser));
  const ratio = (looker: Looker): string =>
    median(rates[looker].map((rate, round) => rate / rates.without[round]!)).toFixed(3);
  console.log(`  without --ui             ${Math.round(median(rates.without))} IOPS`);
  console.log(
    `  --ui, nobody looks       ${Math.round(median(rates.nobody))} IOPS   ${ratio('nobody')}×`,
  );
  console.log(
    `  --ui, page open          ${Math.round(median(rates.page))} IOPS   ${ratio('page')}×`,
  );
}

/**
 * What a Redis between a command and its jobs costs over threads, and what more workers bring: 200
 * jobs of about 0.1 s each.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import type { JobRunner } from '../src/jobs/job.js';
import { threadRunner } from '../src/jobs/thread-runner.js';
import { type CurveJob, curveKind } from '../src/plan/curve-job.js';
import { queueRunner } from '../src/runners/queue/queue-runner.js';
import { readModel } from '../src/sim/input.js';

const JOBS = 200;
const PORT = 7399;
const URL_OF_REDIS = `redis://127.0.0.1:${PORT}`;
const WORKERS = 3;
const MIB = 2 ** 20;

function curveJob(seed: number): CurveJob {
  const boot = { reads: 8 * MIB, touched: 2 * MIB, bandwidth: 2 ** 31, latency: 50 };
  const idle = { time: 2e6, workingSet: 8 * MIB, iosPerSecond: 1250 };
  return {
    name: 'machine',
    source: { vm: { memory: 64 * MIB, boot, givenBack: 0, idle } },
    folder: '/',
    digest: null,
    policy: 'iopf:premap=8',
    model: readModel('fast'),
    seed,
    worstPercent: 90,
  };
}

async function secondsOf(runner: JobRunner): Promise<number> {
  const jobs = Array.from({ length: JOBS }, (_, index) => curveJob(index));
  const started = performance.now();
  await runner.run(curveKind, jobs);
  return (performance.now() - started) / 1000;
}

async function said(child: ChildProcess, what: string): Promise<void> {
  let text = '';
  for await (const chunk of child.stdio[
    what.startsWith('Ready') ? 1 : 2
  ] as NodeJS.ReadableStream) {
    text += chunk;
    if (text.includes(what)) return;
  }
  throw new Error(`it ended: ${text}`);
}

async function startWorker(threads: number): Promise<ChildProcess> {
  const words = [join(import.meta.dirname, '../bundle/iopf.cjs'), 'worker', URL_OF_REDIS];
  const child = spawn(process.execPath, [...words, '--jobs', String(threads)]);
  await said(child, 'does jobs from');
  return child;
}

async function end(child: ChildProcess): Promise<void> {
  child.kill('SIGKILL');
  await once(child, 'exit');
}

export async function benchEngineJobs(): Promise<void> {
  const cores = availableParallelism();
  const folder = mkdtempSync(join(tmpdir(), 'iopf-bench-'));
  const where = ['--port', String(PORT), '--bind', '127.0.0.1', '--dir', folder, '--save', ''];
  const redis = spawn('redis-server', where);
  const workers: ChildProcess[] = [];
  try {
    await said(redis, 'Ready to accept');
    const queue = queueRunner(URL_OF_REDIS, { tell: () => {} });
    workers.push(await startWorker(cores));
    // The first run loads and compiles.
    await secondsOf(queue);
    const threads = await secondsOf(threadRunner(cores));
    const queued = await secondsOf(queue);
    const overhead = 100 * (queued / threads - 1);
    const each = (1000 * threads * cores) / JOBS;
    console.log(
      `${JOBS} jobs of ${each.toFixed(0)} ms on ${cores} cores: ${threads.toFixed(2)} s in ` +
        `threads, ${queued.toFixed(2)} s by a worker: ${overhead.toFixed(1)} % more`,
    );
    await end(workers.pop()!);
    workers.push(await startWorker(1));
    await secondsOf(queue);
    const one = await secondsOf(queue);
    while (workers.length < WORKERS) workers.push(await startWorker(1));
    await secondsOf(queue);
    const all = await secondsOf(queue);
    console.log(
      `by 1 worker ${one.toFixed(2)} s, by ${WORKERS} ${all.toFixed(2)} s: ` +
        `${(one / all).toFixed(2)} times as fast, on ${cores} cores`,
    );
  } finally {
    for (const child of [...workers, redis]) await end(child);
    rmSync(folder, { recursive: true });
  }
}

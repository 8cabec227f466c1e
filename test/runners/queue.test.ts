/** `--engine` and `iopf worker`, on a real Redis. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { type CheckRequest, checkKind } from '../../src/check/search/check-job.js';
import { codeVersion } from '../../src/runners/queue/code-version.js';
import { queueRunner } from '../../src/runners/queue/queue-runner.js';
import { compareKind } from '../../src/sim/task.js';
import { have, moreIsAsked } from '../skip.js';
import { until } from '../until.js';
import { Iopf, TestRedis } from './redis.js';

const folder = mkdtempSync(join(tmpdir(), 'iopf-queue-'));
afterAll(() => rmSync(folder, { recursive: true }));

const FLEET = `model: fast
policies: [static, iopf, 'iopf:premap=8']
slowdownBound: 20
seeds: 3
trials: 2
host: { memory: 1G, cores: 64 }
classes:
  - name: small
    count: 100
    cores: 1
    vm:
      memory: 64M
      boot: { reads: 4M, touched: 2M, bandwidth: 2G, latency: 50us }
      idle: { time: 200ms, workingSet: 1M, iosPerSecond: 500 }
`;

const SCENARIO = `
export const mine = {
  name: 'mine', about: 'a device writes', rows: [],
  world: { pages: 1 },
  actors: { device: (world) => world.devices[0].write(0) },
  setup: (world) => world.programs[0].map(0, 1),
};
`;

function job(name: string, randomSeconds = 0): CheckRequest {
  const whole = { variant: null, statesMax: 1e6, seed: 1, stepsMax: null, size: null, share: null };
  return { kind: 'job', job: { ...whole, scenarios: [{ name, module: null }], randomSeconds } };
}

function file(name: string, text: string): string {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
}

/** A JSON document without what names the run itself. */
function result(path: string): string {
  const { arguments: _, ...rest } = JSON.parse(readFileSync(path, 'utf8'));
  return JSON.stringify(rest);
}

const hasRedis = have('redis-server', 'jobs on a Redis');
const isMore = hasRedis && moreIsAsked('workers that are killed, jobs that are left or fail');
const more = it.skipIf(!isMore);

describe.skipIf(!hasRedis)('jobs on a Redis', () => {
  let redis: TestRedis;
  const started: Iopf[] = [];

  beforeAll(async () => {
    redis = await TestRedis.start('--appendonly', 'yes', '--appendfsync', 'always');
  });
  afterEach(async () => {
    for (const each of started.splice(0)) await each.kill();
    redis.say('flushall');
  });
  afterAll(() => redis.end());

  function iopf(...words: string[]): Iopf {
    const run = new Iopf(words);
    started.push(run);
    return run;
  }

  async function worker(...words: string[]): Promise<Iopf> {
    const run = iopf('worker', redis.url, '--jobs', '1', ...words);
    await until(
      () => run.error.includes('does jobs from'),
      () => run.error,
    );
    return run;
  }

  const fleet = file('fleet.yaml', FLEET);
  const planned = (name: string, ...words: string[]): Iopf =>
    iopf('plan', fleet, '--no-cache', '--quiet', '--json', join(folder, name), ...words);

  it('give the same JSON as threads', async () => {
    await planned('one.json', '--jobs', '1').endsWith(0);
    await planned('two.json', '--jobs', '2').endsWith(0);
    expect(result(join(folder, 'two.json'))).toBe(result(join(folder, 'one.json')));
    await worker();
    await planned('queue.json', '--engine', redis.url).endsWith(0);
    expect(result(join(folder, 'queue.json'))).toBe(result(join(folder, 'one.json')));
    await until(() => redis.keys().length === 0, 'nothing of the run stays');
  });

  more(
    'give it by three workers of which one is killed and one comes late, while the Redis is restarted',
    async () => {
      await planned('one.json').endsWith(0);
      const first = await worker();
      await worker();
      const run = planned('three.json', '--engine', redis.url);
      const active = (): string[] => redis.keys().filter((key) => key.endsWith(':lock'));
      await until(() => active().length > 0, 'jobs run');
      await first.kill();
      await redis.kill();
      await redis.begin();
      await worker();
      await run.endsWith(0);
      expect(result(join(folder, 'three.json'))).toBe(result(join(folder, 'one.json')));
      await until(() => redis.keys().length === 0, 'nothing of the run stays');
    },
  );

  more('are left and come for later', async () => {
    const left = await iopf('plan', fleet, '--engine', redis.url, '--detach').endsWith(0);
    await planned('here.json').endsWith(0);
    await worker();
    const words = ['--attach', left.out.trim(), '--engine', redis.url, '--quiet', '--json'];
    await iopf('plan', ...words, join(folder, 'there.json')).endsWith(0);
    expect(result(join(folder, 'there.json'))).toBe(result(join(folder, 'here.json')));
    const again = await iopf('plan', '--attach', left.out.trim(), '--engine', redis.url).endsWith(
      2,
    );
    expect(again.error).toMatch(/there is no run [0-9a-f]{16} at 127/);
  });

  it('are gone when the command is interrupted', async () => {
    const run = planned('gone.json', '--engine', redis.url);
    await until(() => redis.keys().some((key) => key.endsWith(':job-6')), 'jobs lie there');
    run.child.kill('SIGINT');
    await run.endsWith(130);
    expect(redis.keys()).toEqual([]);
  });

  more('bring their files with them, and read no others', async () => {
    file('memory.csv', 'time_s,bytes\n0,1048576\n1,8388608\n2,4194304\n');
    const scenario = file(
      'vms.yaml',
      'model: fast\nworkload: { kind: vms, slowdownBound: 20, count: 2, memoryCurve: memory.csv }\n',
    );
    await worker();
    const compared = (name: string, ...words: string[]): Iopf => {
      const json = ['--quiet', '--json', join(folder, name)];
      return iopf('compare', scenario, '--policy', 'static,iopf', ...json, ...words);
    };
    await compared('c-here.json').endsWith(0);
    await compared('c-there.json', '--engine', redis.url).endsWith(0);
    expect(result(join(folder, 'c-there.json'))).toBe(result(join(folder, 'c-here.json')));

    const blind = { ...compareKind, filesOf: () => [] };
    const task = { policy: 'iopf', model: 'fast', seed: 1, published: null, withMap: false };
    const stranger = queueRunner(redis.url, { tell: () => {} }).run(blind, [
      { ...task, source: '/etc/passwd', leastMemory: false },
    ]);
    await expect(stranger).rejects.toThrow('/etc/passwd: it did not come with the job');
  });

  more('that fail are tried three times, and told; the others go on', async () => {
    await worker();
    const inputs = [job('nobody-wrote-it'), job('fault-migrate-unmap')];
    const outcomes = await queueRunner(redis.url, { tell: () => {} }).run(checkKind, inputs);
    expect(outcomes[0]).toMatchObject({ kind: 'failed', message: expect.stringContaining('null') });
    expect(outcomes[1]).toMatchObject({
      kind: 'done',
      result: { reports: [{ name: 'fault-migrate-unmap', orders: 92 }] },
    });
    await until(() => redis.keys().length === 0, 'nothing of the run stays');
    const strange = { ...job('fault-migrate-unmap'), more: 1 };
    const [outcome] = await queueRunner(redis.url, { tell: () => {} }).run(checkKind, [strange]);
    expect(outcome).toEqual({
      kind: 'failed',
      message: 'what lies in the queue is no job of iopf',
    });
  });

  more('whose workers die three times are told; the others go on', async () => {
    const endless = job('fault-migrate-unmap', 1e6);
    const inputs = [endless, job('fault-migrate-unmap')];
    const ended = queueRunner(redis.url, { tell: () => {} }).run(checkKind, inputs);
    const isTaken = (): boolean => redis.keys().some((key) => key.endsWith(':job-0:lock'));
    for (let times = 0; times < 3; times++) {
      const doomed = await worker();
      await until(isTaken, 'the job is taken');
      await doomed.kill();
      await until(() => !isTaken(), 'its worker is not heard of any more');
    }
    await worker();
    const outcomes = await ended;
    expect(outcomes[0]).toEqual({ kind: 'failed', message: 'its worker ended each time' });
    expect(outcomes[1]).toMatchObject({ kind: 'done', result: { reports: [{ orders: 92 }] } });
    await until(() => redis.keys().length === 0, 'nothing of the run stays');
  });

  more('are the shares of a check that goes farther', async () => {
    const bound = ['--bound', 'pages=2,devices=2,steps=12', '--seed', '3', '--json'];
    const words = ['check', 'two-takers', 'attach-order', ...bound];
    await iopf(...words, join(folder, 'near.json')).endsWith(0);
    await worker();
    await worker();
    await iopf(...words, join(folder, 'far.json'), '--engine', redis.url).endsWith(0);
    const withoutSeconds = (name: string): string =>
      result(join(folder, name)).replace(/"seconds":[\d.e-]+/g, '"seconds":0');
    expect(withoutSeconds('far.json')).toBe(withoutSeconds('near.json'));
    expect(withoutSeconds('far.json')).toContain('"coverage"');
  });

  more('run a module of a user only where that was allowed', async () => {
    const scenario = file('mine.mjs', SCENARIO);
    const words = ['check', scenario, '--engine', redis.url];
    const careful = await worker();
    expect((await iopf(...words).endsWith(2)).error).toContain('start one with --allow-modules');
    await careful.kill();
    redis.say('flushall');
    await worker('--allow-modules');
    const there = await iopf(...words).endsWith(0);
    const here = await iopf('check', scenario).endsWith(0);
    const orders = /^mine .* states/m;
    expect(there.out.match(orders)![0]).toBe(here.out.match(orders)![0]);
  });

  it('are not given to another iopf', async () => {
    const meta = { version: '0.0.1+other', threads: 1, modules: false };
    redis.say('set', 'iopf:worker:other', JSON.stringify(meta));
    const refused = await planned('no.json', '--engine', redis.url).endsWith(2);
    expect(refused.error).toBe(
      `iopf: no worker at 127.0.0.1:${redis.port} has this iopf (${codeVersion()}), ` +
        'but 0.0.1+other: install the same on all machines\n',
    );
    const run = {
      version: '0.0.1+other',
      command: 'curve',
      total: 1,
      detached: true,
      modules: false,
      createdMs: 1,
    };
    redis.say('hset', 'iopf:runs', '0123456789abcdef', JSON.stringify(run));
    const own = await worker();
    await until(() => own.error.includes('is left alone'), own.error);
    expect(own.error.match(/left alone: it is of iopf 0.0.1\+other/g)).toHaveLength(1);
  });
});

describe.skipIf(!have('redis-server', 'a Redis with a password'))('the address of a Redis', () => {
  it('is told in one line where nothing is there, and a password is taken from the environment', async () => {
    const redis = await TestRedis.start('--requirepass', 'secret-word');
    try {
      const words = ['plan', file('f.yaml', FLEET), '--engine'];
      const nobody = await new Iopf([...words, 'redis://127.0.0.1:9']).endsWith(2);
      expect(nobody.error).toBe(
        'iopf: cannot use the Redis at 127.0.0.1:9: nothing listens there (ECONNREFUSED)\n',
      );
      expect((await new Iopf([...words, redis.url]).endsWith(2)).error).toContain(
        'it wants a password (IOPF_REDIS_PASSWORD)',
      );
      const wrong = redis.url.replace('//', '//:wrong-word@');
      const refused = await new Iopf([...words, wrong]).endsWith(2);
      expect(refused.error).toContain('it does not take the password');
      expect(refused.error).not.toContain('wrong-word');
      const left = new Iopf([...words, redis.url, '--detach'], {
        IOPF_REDIS_PASSWORD: 'secret-word',
      });
      expect((await left.endsWith(0)).out).toMatch(/^[0-9a-f]{16}\n$/);
    } finally {
      await redis.end();
    }
  });

  it.skipIf(!isMore)('may ask for TLS, with a certificate of its own', async () => {
    const key = join(folder, 'key.pem');
    const ca = join(folder, 'ca.pem');
    const subject = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost'];
    const words = ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256'];
    execFileSync('openssl', [...words, '-nodes', '-keyout', key, '-out', ca, ...subject], {
      stdio: 'ignore',
    });
    const files = ['--tls-cert-file', ca, '--tls-key-file', key, '--tls-ca-cert-file', ca];
    const plain = await TestRedis.start('--tls-auth-clients', 'no', ...files);
    try {
      plain.say('config', 'set', 'tls-port', String(plain.port + 1));
      const url = `rediss://localhost:${plain.port + 1}`;
      const run = ['plan', file('t.yaml', FLEET), '--detach', '--engine', url];
      expect((await new Iopf(run).endsWith(2)).error).toContain('self-signed certificate');
      await new Iopf(run, { IOPF_REDIS_CA: ca }).endsWith(0);
    } finally {
      await plain.end();
    }
  });
});

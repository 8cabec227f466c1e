/** `npm run bench [-- NAME…] [--rounds N]`: figures and ratios measured side by side in one run. */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { benchCompare } from './compare.js';
import { benchDisk } from './disk.js';
import { benchEngineJobs } from './engine-jobs.js';
import { benchFaultQueue } from './fault-queue.js';
import { benchGuest } from './guest.js';
import { benchIntercept } from './intercept.js';
import { benchKunpeng } from './kunpeng.js';
import { benchLive } from './live.js';
import { benchNet } from './net.js';
import { benchPoll } from './poll.js';
import { benchRegisters } from './registers.js';
import { benchStartup } from './startup.js';

/** Runs a bench that wants a process of its own. */
const script = (name: string) => (): void => {
  const { status } = spawnSync(process.execPath, [join(import.meta.dirname, `${name}.js`)], {
    stdio: 'inherit',
  });
  if (status !== 0) throw new Error(`bench ${name} ended with ${status}`);
};

const benches: Record<string, (rounds: number) => void | Promise<void>> = {
  engine: script('engine'),
  type1: script('type1'),
  nvme: script('nvme'),
  intercept: benchIntercept,
  disk: benchDisk,
  poll: benchPoll,
  registers: benchRegisters,
  net: benchNet,
  'fault-queue': benchFaultQueue,
  guest: benchGuest,
  reclaim: script('reclaim'),
  live: benchLive,
  kunpeng: benchKunpeng,
  check: script('check'),
  compare: benchCompare,
  'engine-jobs': benchEngineJobs,
  startup: benchStartup,
};

const words = process.argv.slice(2);
const at = words.indexOf('--rounds');
const rounds = at < 0 ? 5 : Number(words.splice(at, 2)[1]);
const unknown = words.find((name) => !(name in benches));
if (unknown !== undefined || !(rounds >= 1)) {
  console.error(`usage: npm run bench [-- ${Object.keys(benches).join('|')}…] [--rounds N]`);
  process.exit(2);
}
for (const name of words.length > 0 ? words : Object.keys(benches)) await benches[name]!(rounds);

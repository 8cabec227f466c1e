/**
 * Kills a client or its server at a random moment. A client that is left must end by itself, and
 * say why in one line; a server must serve the next client.
 * `node dist/test/exec/vfio-user-kills.js [ROUNDS] [SEED]`
 */
import { spawn } from 'node:child_process';
import { join, resolve } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { Random } from '../../src/abi/random.js';
import { iopf, nvme, type RunResult, repository, runIopf } from './run-iopf.js';
import { ServedDevice } from './served-device.js';

const ROUNDS = 50;
/** When the kill comes at the latest: the client has begun, or polls. */
const LATEST_MS = 4000;
/** How long the side that is left may take, on a machine that has other things to do. */
const PATIENCE_MS = 60_000;

/** What is wrong with a round; null: nothing. */
export async function killRound(seed: number): Promise<string | null> {
  const random = new Random(seed);
  const killsServer = random.below(2) === 0;
  const server = await new ServedDevice('nvme').listening();
  const program = join(repository, 'dist/examples/nvme-poll/main.js');
  const client = spawn(
    process.execPath,
    [
      ...[iopf, 'exec', ...server.device(nvme, ',timeout=2s'), '--'],
      ...[process.execPath, program, nvme, '--seconds', '5'],
    ],
    { stdio: ['ignore', 'ignore', 'pipe'] },
  );
  let said = '';
  client.stderr.on('data', (text) => {
    said += text;
  });
  const clientEnded = new Promise<number | null>((done) => client.on('close', done));
  try {
    await setTimeout(random.below(LATEST_MS));
    (killsServer ? server.child : client).kill('SIGKILL');
    const next = (): Promise<unknown> => runIopf(server.device(nvme), ['true']);
    const ended = await Promise.race([killsServer ? clientEnded : clientEnded.then(next), late()]);
    if (ended === 'late') return `the ${killsServer ? 'client' : 'server'} hangs: ${said}`;
    if (!killsServer) {
      const { code, stderr } = ended as RunResult;
      return code === 0 ? null : `the next client says ${stderr}, the server ${server.said}`;
    }
    const about = said.split('\n').filter((line) => /server at|cannot connect/.test(line));
    return about.length === 1 && !/Bug/.test(said) ? null : `the client says ${said}`;
  } finally {
    client.kill('SIGKILL');
    await clientEnded;
    server.child.kill('SIGKILL');
    await server.close();
  }
}

async function late(): Promise<'late'> {
  await setTimeout(PATIENCE_MS, undefined, { ref: false });
  return 'late';
}

if (process.argv[1] !== undefined && resolve(process.argv[1]) === import.meta.filename) {
  const [rounds = ROUNDS, first = 1] = process.argv.slice(2).map(Number);
  let bad = 0;
  for (let seed = first; seed < first + rounds; seed++) {
    const wrong = await killRound(seed);
    if (wrong === null) continue;
    bad++;
    console.log(`round ${seed}: ${wrong}`);
  }
  console.log(`${rounds} rounds, ${bad} bad`);
  process.exitCode = bad === 0 ? 0 : 1;
}

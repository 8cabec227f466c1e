/**
 * A loop of messages in the same memory, as the RFC's program has, on `--model kunpeng920-stall`:
 * beside it the same loop pinned, and what `iopf compare` says of a recording of it.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { median } from './figures.js';

const iopf = join(resolve(import.meta.dirname, '../..'), 'dist/bundle/iopf.cjs');
const NVME = '0000:02:00.0';
const MODEL = 'kunpeng920-stall';
const MESSAGES = [4, 40, 400];
/** Percentage points that the two slowdowns may differ. */
const POINTS = 10;

interface Summary {
  readonly faults: number;
  readonly stallSecondsLive: number;
}

function iopfJson<Document>(words: readonly string[], json: string): [Document, string] {
  const { status, stderr, stdout } = spawnSync(process.execPath, [iopf, ...words], {
    encoding: 'utf8',
  });
  if (status !== 0) throw new Error(`iopf ${words.join(' ')}: ${stderr}`);
  return [JSON.parse(readFileSync(json, 'utf8')) as Document, stdout];
}

/** Seconds of the loop alone, and the summary of the run. */
function loop(count: number, json: string, options: readonly string[]): [number, Summary] {
  const words = ['exec', '--quiet', '--device', `nvme@${NVME},size=64M`, '--json', json];
  const program = `qemu-img bench -w -f raw -t none -c ${count} -d 2 -s 16M nvme://${NVME}/1`;
  const [summary, stdout] = iopfJson<Summary>(
    [...words, ...options, '--', ...program.split(' ')],
    json,
  );
  return [Number(/Run completed in ([\d.]+) seconds/.exec(stdout)![1]), summary];
}

export function benchKunpeng(rounds: number): void {
  if (spawnSync('qemu-img', ['--version']).status !== 0) {
    console.log('SKIPPED: kunpeng: no qemu-img on this machine (Debian: qemu-utils)');
    return;
  }
  const folder = mkdtempSync(join(tmpdir(), 'bench-kunpeng-'));
  const [json, record] = [join(folder, 'run.json'), join(folder, 'run.rec')];
  console.log(`\nmessages of 16 MiB, two at a time, ${MODEL}, medians of ${rounds} rounds`);
  try {
    for (const count of MESSAGES) {
      const differences: number[] = [];
      for (let round = 0; round < rounds; round++) {
        const [pinned] = loop(count, json, ['--iopf', 'off']);
        const [live, { faults }] = loop(count, json, ['--model', MODEL, '--record', record]);
        const words = ['compare', '--quiet', '--model', MODEL, '--policy', 'iopf'];
        const [{ runs }] = iopfJson<{ runs: { faults: number; stallSeconds: number }[] }>(
          [...words, '--json', json, record],
          json,
        );
        const [priced] = runs;
        if (priced!.faults !== faults)
          throw new Error(`${faults} faults live, ${priced!.faults} by compare`);
        const liveShare = 100 * (1 - pinned / live);
        const pricedShare = (100 * priced!.stallSeconds) / (pinned + priced!.stallSeconds);
        differences.push(liveShare - pricedShare);
        if (round === 0)
          console.log(
            `  ${String(count).padStart(4)} messages: ${faults} faults, live and by compare; ` +
              `slowdown ${liveShare.toFixed(1)} % live, ${pricedShare.toFixed(1)} % by compare`,
          );
      }
      const difference = median(differences);
      const verdict = Math.abs(difference) <= POINTS ? 'within' : 'NOT within';
      console.log(`       apart by ${difference.toFixed(1)} points: ${verdict} ${POINTS}`);
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

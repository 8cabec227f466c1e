/** `iopf trace [options] FILE` */
import { Command, Option } from 'commander';
import { tell } from '../exec/run/tell.js';
import { checkDistinct, codeOf, readNamed } from '../input/named-file.js';
import { type OutputFile, openOutput, writeAll } from '../input/output-file.js';
import { printable } from '../input/printable.js';
import { UserError } from '../input/user-error.js';
import { RECORDING_MOST_BYTES } from '../trace/recording-format.js';
import { progressLine } from './progress.js';

interface Options {
  readonly check?: true;
  readonly export?: 'kernel' | 'chrome';
  readonly output?: string;
  readonly quiet?: true;
}

const FLUSH_BYTES = 1 << 16;

export function traceCommand(): Command {
  return new Command('trace')
    .description('print, check or export a recording (iopf exec --record)')
    .argument('<file>', 'the recording')
    .option('--check', 'check the file for damage: exit code 1 and its offset if there is any')
    .addOption(
      new Option(
        '--export <form>',
        'replay the recording under its own policy, and print what the engine does',
      ).choices(['kernel', 'chrome']),
    )
    .option('--output <file>', 'write to this file instead of standard output')
    .option('--quiet', 'say nothing about the recording: of --check the exit code tells')
    .action(run);
}

async function run(path: string, options: Options): Promise<void> {
  const { damageOf, eventsOf, parseRecording } = await import('../trace/recording.js');
  const { formatEvent, formatHeader } = await import('../trace/recording-text.js');
  const input = { what: 'the recording', path };
  if (options.output !== undefined)
    checkDistinct([{ what: '--output', path: options.output }], [input]);
  const recording = parseRecording(readNamed(input, RECORDING_MOST_BYTES), path);
  const damage = damageOf(path, recording);
  const isQuiet = options.quiet === true;
  if (damage !== null) {
    if (!isQuiet) tell(damage);
    process.exitCode = 1;
  }
  const line = isQuiet ? null : progressLine();
  const progress = (share: number): void => line?.show(path, share);
  if (options.check === true) {
    let events = 0;
    for (const _ of eventsOf(recording, progress)) events++;
    line?.clear();
    if (damage === null && !isQuiet)
      process.stdout.write(`${printable(path)}: whole, ${events} events\n`);
    return;
  }
  // What scrolls by shows by itself how far it is.
  const shown = options.output === undefined && process.stdout.isTTY ? () => {} : progress;
  const out = gathered(
    options.output === undefined ? standardOutput() : openOutput(options.output),
  );
  try {
    if (options.export === undefined) {
      out.put(`${formatHeader(recording)}\n`);
      for (const event of eventsOf(recording, shown)) out.put(`${formatEvent(event)}\n`);
    } else {
      const { exportRecording } = await import('../sim/export.js');
      exportRecording(recording, options.export, (text) => out.put(text), shown);
    }
    out.commit();
  } catch (error) {
    out.discard();
    throw error;
  } finally {
    line?.clear();
  }
}

/** Standard output, which may end early: the reader has seen enough. */
function standardOutput(): OutputFile {
  return {
    put(text) {
      try {
        writeAll(1, text);
      } catch (error) {
        if (codeOf(error) === 'EPIPE') process.exit();
        throw new UserError(`cannot write standard output: ${codeOf(error)}`);
      }
    },
    commit: () => {},
    discard: () => {},
  };
}

/** Small texts, put together. */
function gathered(output: OutputFile): OutputFile {
  let pending = '';
  const flush = (): void => {
    output.put(pending);
    pending = '';
  };
  return {
    put(text) {
      pending += text;
      if (pending.length >= FLUSH_BYTES) flush();
    },
    commit() {
      flush();
      output.commit();
    },
    discard: () => output.discard(),
  };
}

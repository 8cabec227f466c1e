/** `iopf trace [options] FILE` */
import { closeSync, openSync, writeSync } from 'node:fs';
import { Command, Option } from 'commander';
import { tell } from '../exec/run/tell.js';
import { readUserFile } from '../input/files.js';
import { UserError } from '../input/user-error.js';

interface Options {
  readonly check?: true;
  readonly export?: 'kernel' | 'chrome';
  readonly output?: string;
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
    .action(run);
}

async function run(path: string, options: Options): Promise<void> {
  const { damageOf, eventsOf, parseRecording } = await import('../trace/recording.js');
  const { formatEvent, formatHeader } = await import('../trace/recording-text.js');
  const recording = parseRecording(readUserFile(path, 'the recording'), path);
  const damage = damageOf(path, recording);
  if (damage !== null) {
    tell(damage);
    process.exitCode = 1;
  }
  if (options.check === true) {
    let events = 0;
    for (const _ of eventsOf(recording)) events++;
    if (damage === null) process.stdout.write(`${path}: whole, ${events} events\n`);
    return;
  }
  const out = openOutput(options.output);
  try {
    if (options.export === undefined) {
      out.put(`${formatHeader(recording)}\n`);
      for (const event of eventsOf(recording)) out.put(`${formatEvent(event)}\n`);
    } else {
      const { exportRecording } = await import('../sim/export.js');
      exportRecording(recording, options.export, out.put);
    }
    out.flush();
  } catch (error) {
    // The reader has seen enough.
    if ((error as NodeJS.ErrnoException).code !== 'EPIPE') throw error;
  } finally {
    out.close();
  }
}

interface Output {
  put(text: string): void;
  flush(): void;
  close(): void;
}

function openOutput(path: string | undefined): Output {
  let fd = 1;
  try {
    if (path !== undefined) fd = openSync(path, 'w');
  } catch (error) {
    throw new UserError(`cannot write ${path}: ${(error as NodeJS.ErrnoException).code}`);
  }
  let pending = '';
  const flush = (): void => {
    for (let rest = Buffer.from(pending); rest.length > 0; ) {
      try {
        rest = rest.subarray(writeSync(fd, rest));
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error;
      }
    }
    pending = '';
  };
  return {
    put(text) {
      pending += text;
      if (pending.length >= FLUSH_BYTES) flush();
    },
    flush,
    close: () => {
      if (fd !== 1) closeSync(fd);
    },
  };
}

/** `iopf import [options] FILE --output RECORDING` */
import { release } from 'node:os';
import { basename } from 'node:path';
import { Command, InvalidArgumentError, Option } from 'commander';
import { tell } from '../exec/run/tell.js';
import { checkDistinct, readNamed } from '../input/named-file.js';
import { checkOutput } from '../input/output-file.js';
import { printable } from '../input/printable.js';
import { parseSize, SIZE_EXPECTED } from '../input/size.js';
import { UserError } from '../input/user-error.js';
import { PAGE_SIZE } from '../mm/address-space.js';
import type { ImportKind } from '../sim/import/index.js';

interface Options {
  readonly output: string;
  readonly from?: ImportKind;
  readonly memory?: number;
  readonly quiet?: true;
}

/** As `importKinds`, which is loaded when a file is imported. */
const kinds = ['csv', 'memory-curve', 'fio', 'blkparse', 'msr', 'kernel', 'chrome'];

export function importCommand(): Command {
  return new Command('import')
    .description('make a recording for compare and plan of a trace that another tool wrote')
    .argument('<file>', 'the trace')
    .requiredOption('--output <file>', 'the recording')
    .addOption(
      new Option('--from <kind>', 'what kind of file it is, where that cannot be told').choices(
        kinds,
      ),
    )
    .option('--memory <size>', 'page cache of block traces (1G)', memory)
    .option('--quiet', 'do not say what was assumed')
    .action(run);
}

async function run(path: string, options: Options): Promise<void> {
  const { CACHE_BYTES, importText, SOURCE_MOST_BYTES } = await import('../sim/import/index.js');
  const { recordEvents } = await import('../trace/event-recorder.js');
  const input = { what: 'the trace', path };
  checkDistinct([{ what: '--output', path: options.output }], [input]);
  checkOutput(options.output);
  const text = readNamed(input, SOURCE_MOST_BYTES).toString();
  const { assumptions, events, what } = importText(
    text,
    path,
    options.from ?? null,
    options.memory ?? CACHE_BYTES,
  );
  const complaint = recordEvents(
    options.output,
    {
      program: what,
      arguments: [basename(path)],
      kernel: release(),
      iopf: 'auto',
      premap: 1,
      assumptions,
    },
    events,
  );
  if (complaint !== null) throw new UserError(complaint);
  if (options.quiet === true) return;
  tell(`${printable(path)} is ${what}: ${events.length} events in ${printable(options.output)}`);
  for (const each of assumptions) tell(`assumed: ${each}`);
}

function memory(text: string): number {
  const bytes = parseSize(text);
  if (!(bytes >= PAGE_SIZE)) throw new InvalidArgumentError(`${SIZE_EXPECTED} is needed.`);
  return bytes;
}

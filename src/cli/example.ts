/** `iopf example [NAME] [ARGS…]`: what comes with iopf to try and to read. */
import { readdirSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { Command } from 'commander';
import { say } from '../exec/run/tell.js';
import { writeAll } from '../input/output-file.js';
import { packageFile } from '../input/package-file.js';
import { UserError } from '../input/user-error.js';
import { iopfProgram, runWords } from './program.js';

interface Example {
  readonly about: string;
  /** The words of its command line between `iopf` and what the user adds, and those behind that. */
  readonly before: readonly string[];
  readonly after: readonly string[];
}

interface ExampleProgram {
  readonly about: string;
  readonly device: string;
  /** Options of exec that it needs. */
  readonly options?: readonly string[];
}

/** Programs: folders of examples/, and the device that each drives. */
const programs: Readonly<Record<string, ExampleProgram>> = {
  'dma-copy': {
    about: 'a device copies between scattered pages of 192 MiB that a program maps',
    device: 'edu@0000:00:04.0',
  },
  'guest-paging': {
    about: 'a guest with 8 frames answers the page requests of its device',
    device: 'edu@0000:00:04.0',
  },
  'nvme-poll': {
    about: 'a polling driver reads an NVMe disk at random and tells how fast that was',
    device: 'nvme@0000:02:00.0,size=64M',
  },
  'on-demand': {
    about: 'a program maps each page when its device asks for it, by iommufd',
    device: 'ats@0000:00:04.0',
    options: ['--kernel', '7.2'],
  },
  'packet-loop': {
    about: 'a polling driver sends packets through a virtio network card that loops them back',
    device: 'virtio-net@0000:03:00.0',
  },
};

/** `load` gives the commands of these names. */
export function exampleCommand(
  load: (names: readonly string[]) => Promise<readonly Command[]>,
): Command {
  return new Command('example')
    .description('list the examples that come with iopf, or run one')
    .argument('[name]', 'an example')
    .argument(
      '[args...]',
      'options of exec or compare, which it runs under; after --, arguments of the program',
    )
    .passThroughOptions()
    .allowUnknownOption()
    .action((name: string | undefined, args: string[]) => run(name, args, load));
}

async function run(
  name: string | undefined,
  args: string[],
  load: (names: readonly string[]) => Promise<readonly Command[]>,
): Promise<void> {
  const examples = allExamples();
  if (name === undefined) {
    writeAll(1, listOf(examples));
    return;
  }
  const example = examples.get(name);
  if (example === undefined)
    throw new UserError(
      `there is no example "${name}"; there are ${[...examples.keys()].join(', ')}`,
    );
  const at = args.indexOf('--');
  const own = at < 0 ? [] : args.slice(at + 1);
  const options = at < 0 ? args : args.slice(0, at);
  const words = [...example.before, ...options, ...example.after, ...own];
  say(`iopf ${words.join(' ')}\n`);
  await runWords(iopfProgram(await load([words[0]!])), words);
}

function allExamples(): Map<string, Example> {
  const examples = new Map<string, Example>();
  for (const [name, { about, device, options = [] }] of Object.entries(programs)) {
    const main = packageFile(`dist/examples/${name}/main.js`);
    examples.set(name, {
      about,
      before: ['exec', '--device', device, ...options],
      after: ['--', process.execPath, main],
    });
  }
  const folder = packageFile('examples');
  for (const file of readdirSync(folder).sort()) {
    if (!file.endsWith('.yaml')) continue;
    const path = join(folder, file);
    const about = /^about: (.*)$/m.exec(readFileSync(path, 'utf8'))?.[1] ?? '';
    const command = file === 'fleet.yaml' ? 'plan' : 'compare';
    examples.set(basename(file, '.yaml'), { about, before: [command, path], after: [] });
  }
  return examples;
}

function listOf(examples: Map<string, Example>): string {
  const lines = (command: string): string =>
    [...examples]
      .filter(([, { before }]) => before[0] === command)
      .map(([name, { about }]) => `  ${name.padEnd(17)} ${about}\n`)
      .join('');
  return (
    `Programs, run under iopf exec:\n${lines('exec')}` +
    `Scenarios, run by iopf compare:\n${lines('compare')}` +
    `Fleets, run by iopf plan:\n${lines('plan')}` +
    `Their sources, and a device in 50 lines, are in ${packageFile('examples')}\n`
  );
}

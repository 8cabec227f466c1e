/** What `iopf exec --device ./ring.ts@… --help` says of devices of the user's own. */
import { deviceKinds } from '../device/kinds.js';
import { parseDevice } from '../exec/machine/machine-spec.js';
import { findModules } from '../exec/module/find.js';
import { loadModel } from '../exec/module/load.js';
import { describeDevice } from '../kit/documentation.js';

/** The modules that the words name, if they ask for help at all. Throws UserError. */
export async function moduleHelp(words: readonly string[]): Promise<string> {
  const end = words.indexOf('--');
  const options = end < 0 ? words : words.slice(0, end);
  if (!options.includes('--help') && !options.includes('-h')) return '';
  const named = options.flatMap((word, index) => {
    if (word === '--device') return options[index + 1] ?? [];
    return word.startsWith('--device=') ? word.slice('--device='.length) : [];
  });
  const others = named
    .filter((text) => text.includes('@'))
    .map(parseDevice)
    .filter(({ kind }) => !deviceKinds.has(kind));
  const texts: string[] = [];
  for (const module of await findModules(others))
    texts.push(`\n${module.kind}:\n${describeDevice(await loadModel(module))}\n`);
  return texts.join('');
}

/** The scenarios and variants that a user names: those that ship, and those that files export. */
import { statSync } from 'node:fs';
import { resolve } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { Bug } from '../abi/bug.js';
import { scenarios as shippedScenarios } from '../check/scenarios/index.js';
import type { Ref } from '../check/search/run-scenario.js';
import { variantsNamed } from '../check/variants/index.js';
import { UserError } from '../input/user-error.js';
import { inThread } from './check-threads.js';

/** The scenario of that name, or those of a file. Throws UserError. */
export async function findScenarios(argument: string): Promise<Ref[]> {
  if (shippedScenarios.some(({ name }) => name === argument))
    return [{ name: argument, module: null }];
  return await exportsNamed(argument, 'scenario');
}

/** The variants of that name (`rfc-v3` is several), or those of a file. Throws UserError. */
export async function findVariants(argument: string): Promise<Ref[]> {
  const shipped = variantsNamed(argument);
  if (shipped.length !== 0) return shipped.map(({ name }) => ({ name, module: null }));
  return await exportsNamed(argument, 'variant');
}

/** What FILE or FILE#NAME exports of a kind. Throws UserError. */
async function exportsNamed(argument: string, kind: 'scenario' | 'variant'): Promise<Ref[]> {
  const [, file, name] = /^(.*?)(?:#([^#]*))?$/.exec(argument)!;
  const isUrl = file!.startsWith('file:');
  if (!isUrl && !statSync(file!, { throwIfNoEntry: false })?.isFile())
    throw new UserError(
      `${argument} is neither a ${kind} nor a file; 'iopf check --list' shows the ${kind}s`,
    );
  const module = isUrl ? file! : pathToFileURL(resolve(file!)).href;
  const answer = await inThread({ kind: 'list', module }).catch((error: unknown) => {
    if (!(error instanceof UserError)) throw error;
    throw error.message.startsWith(fileURLToPath(module))
      ? error
      : new UserError(`${file}: ${error.message}`);
  });
  if (answer.kind !== 'exports') throw new Bug('a list was answered with something else');
  const found = kind === 'scenario' ? answer.scenarios : answer.variants;
  const chosen = name === undefined ? found : found.filter((each) => each === name);
  if (found.length === 0)
    throw new UserError(`${file} exports no ${kind}; docs/check.md shows how one is written`);
  if (chosen.length === 0)
    throw new UserError(`${file} exports no ${kind} ${name}, but ${found.join(', ')}`);
  return chosen.map((each) => ({ name: each, module }));
}

/** `iopf exec --inject`: rules and their seed. Loaded where there are rules. */
import { randomInt } from 'node:crypto';
import type { OwnPoint } from '../device/own-points.js';
import type { InjectOptions } from '../exec/run/exec-options.js';
import { needsFaults } from '../inject/points.js';
import { parseRule, type Rule, RuleError } from '../inject/rule.js';
import { readNamed, TEXT_MOST_BYTES } from '../input/named-file.js';
import { printable } from '../input/printable.js';
import { UserError } from '../input/user-error.js';

const FILE = /\.ya?ml$/;
/** What a shell takes as it is. */
const PLAIN = /^[\w@%+=:,./-]+$/;

/**
 * `seed` undefined: one is made, where anything comes by chance. `own`: points that devices of the
 * run declare. Throws UserError.
 */
export async function injectOptions(
  given: readonly string[],
  seed: number | undefined,
  iopf: string,
  own: readonly OwnPoint[],
): Promise<InjectOptions> {
  const rules: Rule[] = [];
  for (const text of given)
    rules.push(...(FILE.test(text) ? await fromFile(text, own) : [ruleOf(text, own)]));
  const taking = rules.find(({ point }) => needsFaults.has(point));
  if ((iopf === 'off' || iopf === 'all') && taking !== undefined)
    throw new UserError(
      `rule "${printable(taking.text)}" with --iopf off: memory is pinned then, and devices ask ` +
        'for no page; drop --iopf off',
    );
  const byChance = rules.some(({ when }) => when.chance < 1);
  const chosen = seed ?? (byChance ? randomInt(2 ** 32) : 0);
  return {
    rules,
    seed: chosen,
    again: commandLine(seed === undefined && byChance ? chosen : null),
  };
}

function ruleOf(text: string, own: readonly OwnPoint[]): Rule {
  try {
    return parseRule(text, own);
  } catch (error) {
    if (error instanceof RuleError) throw new UserError(`--inject: ${printable(error.message)}`);
    throw error;
  }
}

async function fromFile(path: string, own: readonly OwnPoint[]): Promise<Rule[]> {
  const { parseRuleFile } = await import('../inject/rule-file.js');
  const text = readNamed({ what: 'the file of rules', path }, TEXT_MOST_BYTES);
  return parseRuleFile(text.toString(), path, own);
}

/** This command line, with a seed that was not given. */
function commandLine(seed: number | null): string {
  const [command = 'exec', ...words] = process.argv.slice(2);
  const all = [command, ...(seed === null ? [] : ['--seed', `${seed}`]), ...words];
  return shellLine(['iopf', ...all]);
}

/** Words as a shell takes them. */
export function shellLine(words: readonly string[]): string {
  return words.map(quoted).join(' ');
}

function quoted(word: string): string {
  return PLAIN.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}

/** Many rules, from a YAML file. */
import { z } from 'zod';
import type { OwnPoint } from '../device/own-points.js';
import { formatKey } from '../input/schemas.js';
import { parseUserFile } from '../input/user-file.js';
import { parseRule, type Rule, RuleError } from './rule.js';

export const rulesSchema = z.strictObject({
  schema: formatKey('rules'),
  rules: z.array(z.string()).min(1, 'needs at least one rule'),
});

/** `name` is how errors call the file; `own` as of `parseRule`. Throws UserError with the line. */
export function parseRuleFile(text: string, name: string, own: readonly OwnPoint[] = []): Rule[] {
  const { data, error } = parseUserFile(text, name, rulesSchema);
  return data.rules.map((rule, index) => {
    try {
      return parseRule(rule, own);
    } catch (thrown) {
      if (thrown instanceof RuleError) throw error(['rules', index], thrown.message);
      throw thrown;
    }
  });
}

/** Many rules, from a YAML file. */
import { z } from 'zod';
import { parseUserFile } from '../input/user-file.js';
import { parseRule, type Rule, RuleError } from './rule.js';

const schema = z.strictObject({ rules: z.array(z.string()).min(1, 'needs at least one rule') });

/** `name` is how errors call the file. Throws UserError with the line. */
export function parseRuleFile(text: string, name: string): Rule[] {
  const { data, error } = parseUserFile(text, name, schema);
  return data.rules.map((rule, index) => {
    try {
      return parseRule(rule);
    } catch (thrown) {
      if (thrown instanceof RuleError) throw error(['rules', index], thrown.message);
      throw thrown;
    }
  });
}

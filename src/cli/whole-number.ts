import { InvalidArgumentError } from 'commander';

/**
 * A parser of an option that is a whole number, `least` to `most` of `unit` (`pages`). Commander
 * puts the option's name before its complaint.
 */
export function wholeNumber(
  least: number,
  most = Number.MAX_SAFE_INTEGER,
  unit = '',
): (text: string) => number {
  const range = most === Number.MAX_SAFE_INTEGER ? '' : ` from ${least} to ${most}`;
  return (text) => {
    const value = Number(text);
    if (!/^\d+$/.test(text) || value < least || value > most)
      throw new InvalidArgumentError(
        `a whole number${unit === '' ? '' : ` of ${unit}`}${range} is needed.`,
      );
    return value;
  };
}

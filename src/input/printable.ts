/** Text that others wrote, made safe to print. */

/**
 * Control characters, and those that turn the direction of text, would do something to a terminal
 * or make one line look like another. Tabs are harmless.
 */
// biome-ignore lint/suspicious/noControlCharactersInRegex: these are what it is about
const unprintable = /[\0-\x08\n-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/g;

/** A text on one line, with such characters as `\x1b` or `\u202e`. */
export function printable(text: string): string {
  return text.replace(unprintable, escaped);
}

/** The same of each line of a text. */
export function printableLines(text: string): string {
  return text.split('\n').map(printable).join('\n');
}

function escaped(character: string): string {
  const code = character.charCodeAt(0);
  return code < 0x100
    ? `\\x${code.toString(16).padStart(2, '0')}`
    : `\\u${code.toString(16).padStart(4, '0')}`;
}

/** Lines of other tools' files, with their numbers; what is wrong with one names it. */
import { parseSize } from '../../input/size.js';
import { UserError } from '../../input/user-error.js';

export interface Line {
  /** From 1 on. */
  readonly number: number;
  readonly text: string;
}

/** A text that is imported; `name` is how errors call it. */
export class SourceText {
  readonly lines: readonly Line[];

  constructor(
    readonly name: string,
    text: string,
  ) {
    this.lines = text
      .split('\n')
      .map((line, index) => ({ number: index + 1, text: line.replace(/\r$/, '') }))
      .filter((line) => line.text.trim() !== '');
  }

  error({ number }: Line, what: string): UserError {
    return new UserError(`${this.name}:${number}: ${what}`);
  }

  /** A number of a field, 0 or above. Throws UserError. */
  amount(line: Line, what: string, text: string | undefined): number {
    const value = Number(text);
    if (
      text === undefined ||
      text.trim() === '' ||
      !(value >= 0 && value < Number.MAX_SAFE_INTEGER)
    )
      throw this.error(line, `${what} must be a number, not "${text ?? ''}"`);
    return value;
  }

  /** Bytes of a field. Throws UserError. */
  bytes(line: Line, what: string, text: string | undefined): number {
    const value = parseSize(text?.trim() ?? '');
    if (Number.isNaN(value))
      throw this.error(line, `${what} must be a number of bytes, not "${text ?? ''}"`);
    return value;
  }
}

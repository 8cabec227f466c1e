/**
 * Input of the user that is not usable; the message says what, where and what to do. The command
 * exits with `exitCode`; null: with the one that stands for such errors of it.
 */
export class UserError extends Error {
  constructor(
    message: string,
    readonly exitCode: number | null = null,
  ) {
    super(message);
    this.name = 'UserError';
  }
}

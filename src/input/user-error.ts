/** Something the user gave cannot be used; the message says what, where and what to do. The command exits with 2. */
export class UserError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'UserError';
  }
}

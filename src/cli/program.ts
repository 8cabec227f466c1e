/** The command line of `iopf`, whatever of its commands are loaded. */
import { Command } from 'commander';
import { tell } from '../exec/run/tell.js';
import { UserError } from '../input/user-error.js';
import { version } from './version.js';

/** The program with these commands; `--help` lists no others. */
export function iopfProgram(commands: readonly Command[]): Command {
  const program = new Command('iopf')
    .description('VFIO with I/O page faults, in user space')
    .version(version())
    .enablePositionalOptions()
    .configureOutput({ outputError: (text) => tell(asOneLine(text)) })
    .exitOverride((error) => process.exit(error.exitCode === 0 ? 0 : 2));
  for (const command of commands) {
    program.addCommand(command);
    command.copyInheritedSettings(program);
  }
  program.hook('preAction', (_, command) => {
    // Asking for Node's stdout makes a pipe non-blocking, and exec's program shares it.
    if (command.name() === 'exec' || command.name() === 'example') return;
    // `iopf check | head`: the reader has seen enough.
    process.stdout.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'EPIPE') process.exit();
      tell(`cannot write standard output: ${error.code}`);
      process.exit(2);
    });
  });
  return program;
}

/** Carries out the words of a command line; an error for the user becomes one line and exit 2. */
export async function runWords(program: Command, words: readonly string[]): Promise<void> {
  try {
    await program.parseAsync(words, { from: 'user' });
  } catch (error) {
    // A system call that failed because of the user's environment (no current directory, say) is
    // also an error for the user.
    const isForUser = error instanceof UserError || (error instanceof Error && 'syscall' in error);
    if (!isForUser) throw error;
    tell(error.message);
    process.exitCode = error instanceof UserError ? error.exitCode : 2;
  }
}

/**
 * An error of commander's, `error: unknown option '--jsom'\n(Did you mean --json?)\n`, in the form
 * of all other errors: one line.
 */
function asOneLine(text: string): string {
  return text
    .replace(/^error: /, '')
    .trim()
    .replaceAll('\n', ' ');
}

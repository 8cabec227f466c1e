/** The command line of `iopf`, whatever of its commands are loaded. */
import { Command } from 'commander';
import { say, tell } from '../exec/run/tell.js';
import { writeAll } from '../input/output-file.js';
import { UserError } from '../input/user-error.js';
import { documentOf, jsonText } from './json/document.js';
import { version } from './version.js';

/** A command line, a file or a host that does not allow what was asked. */
const USAGE = 2;
/** The same of a command that passes a program's exit codes on: as env(1) has it. */
const USAGE_OF_EXEC = 125;

function usageCode(command: string | undefined): number {
  return command === 'exec' ? USAGE_OF_EXEC : USAGE;
}

/** The program with these commands; `--help` lists no others. */
export function iopfProgram(commands: readonly Command[]): Command {
  const program = new Command('iopf')
    .description('VFIO with I/O page faults, in user space')
    .version(
      version(),
      '-V, --version',
      'output the version number; with --json behind it, as JSON',
    )
    .enablePositionalOptions()
    .configureOutput({ outputError: (text) => tell(asOneLine(text)) })
    .exitOverride((error) => process.exit(error.exitCode === 0 ? 0 : USAGE));
  for (const command of commands) {
    program.addCommand(command);
    command.copyInheritedSettings(program);
    command.exitOverride((error) =>
      process.exit(error.exitCode === 0 ? 0 : usageCode(command.name())),
    );
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

/**
 * Carries out the words of a command line; an error for the user becomes one line, and the exit
 * code that stands for such.
 */
export async function runWords(program: Command, words: readonly string[]): Promise<void> {
  try {
    if (isVersion(words[0]) && words[1] === '--json' && words.length === 2) {
      writeAll(1, jsonText(documentOf('version', {}, words)));
      return;
    }
    if (words[0] === 'exec' && words.includes('--device')) {
      const { moduleHelp } = await import('./module-help.js');
      const help = await moduleHelp(words);
      program.commands.find((command) => command.name() === 'exec')?.addHelpText('after', help);
    }
    await program.parseAsync(words, { from: 'user' });
  } catch (error) {
    // A system call that failed because of the user's environment (no current directory, say) is
    // also an error for the user.
    const isForUser = error instanceof UserError || (error instanceof Error && 'syscall' in error);
    if (!isForUser) {
      if (words[0] !== 'exec') throw error;
      // Node's own exit code for it, 1, would look like the program's.
      say(`${error instanceof Error ? error.stack : String(error)}\n`);
      process.exitCode = USAGE_OF_EXEC;
      return;
    }
    tell(error.message);
    const own = error instanceof UserError ? error.exitCode : null;
    process.exitCode = own ?? usageCode(words[0]);
  }
}

function isVersion(word: string | undefined): boolean {
  return word === '--version' || word === '-V';
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

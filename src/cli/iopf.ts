/** The `iopf` command: one file per subcommand. */
import { createRequire } from 'node:module';
import { Command } from 'commander';
import { tell } from '../exec/run/tell.js';
import { UserError } from '../input/user-error.js';
import { checkCommand } from './check.js';
import { compareCommand } from './compare.js';
import { execCommand } from './exec.js';
import { traceCommand } from './trace.js';

const { version } = createRequire(import.meta.url)('../../../package.json') as { version: string };

const program = new Command('iopf')
  .description('VFIO with I/O page faults, in user space')
  .version(version)
  .enablePositionalOptions()
  .configureOutput({ outputError: (text) => tell(asOneLine(text)) })
  .exitOverride((error) => process.exit(error.exitCode === 0 ? 0 : 2))
  .addCommand(execCommand())
  .addCommand(checkCommand())
  .addCommand(compareCommand())
  .addCommand(traceCommand());
for (const command of program.commands) command.copyInheritedSettings(program);

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

program.hook('preAction', (_, command) => {
  // Asking for Node's stdout makes a pipe non-blocking, and exec's program shares it.
  if (command.name() === 'exec') return;
  // `iopf check | head`: the reader has seen enough.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit();
    tell(`cannot write standard output: ${error.code}`);
    process.exit(2);
  });
});

try {
  await program.parseAsync();
} catch (error) {
  // A system call that failed because of the user's environment (no current directory, say) is also
  // an error for the user.
  const isForUser = error instanceof UserError || (error instanceof Error && 'syscall' in error);
  if (!isForUser) throw error;
  tell(error.message);
  process.exitCode = error instanceof UserError ? error.exitCode : 2;
}

#!/usr/bin/env node
/** The `iopf` command: one file per subcommand. */
import { createRequire } from 'node:module';
import { Command } from 'commander';
import { UserError } from '../input/user-error.js';
import { compareCommand } from './compare.js';
import { execCommand } from './exec.js';
import { traceCommand } from './trace.js';

const { version } = createRequire(import.meta.url)('../../../package.json') as { version: string };

const program = new Command('iopf')
  .description('VFIO with I/O page faults, in user space')
  .version(version)
  .enablePositionalOptions()
  .exitOverride((error) => process.exit(error.exitCode === 0 ? 0 : 2))
  .addCommand(execCommand())
  .addCommand(compareCommand())
  .addCommand(traceCommand());

try {
  await program.parseAsync();
} catch (error) {
  if (!(error instanceof UserError)) throw error;
  process.stderr.write(`iopf: ${error.message}\n`);
  process.exitCode = 2;
}

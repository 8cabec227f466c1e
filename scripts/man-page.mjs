/** Writes dist/iopf.1, the man page, from what `--help` says. */
import { writeFileSync } from 'node:fs';
import { loadCommands } from '../dist/src/cli/commands.js';
import { iopfProgram } from '../dist/src/cli/program.js';

/** Text as roff takes it literally: no backslash, no control line. */
const plain = (text) =>
  text
    .replaceAll('\\', '\\e')
    .replaceAll('-', '\\-')
    .replace(/^(?=[.'])/gm, '\\&');

const program = iopfProgram(await loadCommands());

function section(command) {
  const help = command.createHelp();
  const lines = [`.SS iopf ${plain(command.name())} ${plain(command.usage())}`];
  lines.push(`${plain(command.description())}.`);
  for (const argument of help.visibleArguments(command))
    lines.push(
      '.TP',
      `\\fI${plain(argument.name())}\\fR`,
      plain(help.argumentDescription(argument)),
    );
  for (const option of help.visibleOptions(command))
    lines.push('.TP', `\\fB${plain(option.flags)}\\fR`, plain(help.optionDescription(option)));
  return lines.join('\n');
}

writeFileSync(
  'dist/iopf.1',
  `.TH IOPF 1 "" "iopf ${program.version()}" "User Commands"
.SH NAME
iopf \\- ${plain(program.description())}
.SH SYNOPSIS
\\fBiopf exec\\fR [options] \\-\\- \\fIprogram\\fR [\\fIargs\\fR...]
.br
\\fBiopf\\fR \\fIcommand\\fR [options] ...
.SH DESCRIPTION
iopf exec runs an unmodified VFIO program with no IOMMU, no device, no root and no kernel module: it
implements /dev/vfio for the program, emulates its device, and handles I/O page faults on the
program's real memory, so that nothing is pinned.
.SH COMMANDS
${program.commands.map(section).join('\n')}
.SH EXIT STATUS
That of the program under exec (128 + the number of the signal that ended it); 125: the command
line, a file or the host does not allow what was asked; 126: the program cannot be executed; 127: it
is not there. Of the other commands: 0; 1 where check finds a scenario broken or trace a recording
damaged; 2: the command line, a file or the host does not allow what was asked.
.SH SEE ALSO
iopf example, for something to try; the pages in docs/ of the package.
`,
);

/** Writes dist/completions: what bash, zsh and fish complete, from what the commands take. */
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { loadCommands } from '../dist/src/cli/commands.js';

const commands = (await loadCommands()).map((command) => {
  const help = command.createHelp();
  return {
    name: command.name(),
    about: command.description(),
    options: help.visibleOptions(command).map((option) => ({
      flag: option.long,
      about: option.description,
      choices: option.argChoices ?? [],
      takesValue: option.required || option.optional,
    })),
  };
});
const names = commands.map(({ name }) => name).join(' ');
const perCommand = (line) => commands.map(line).join('\n');
const perChoice = (line) =>
  commands
    .flatMap(({ name, options }) =>
      options
        .filter(({ choices }) => choices.length > 0)
        .map(({ choices, flag }) => line(name, flag, choices.join(' '))),
    )
    .join('\n');
const flags = ({ options }) => options.map(({ flag }) => flag).join(' ');

/** What is no option and no choice is a file, or the program and its arguments. */
const bash = `_iopf() {
  local word=\${COMP_WORDS[COMP_CWORD]} before=\${COMP_WORDS[COMP_CWORD-1]}
  local command=\${COMP_WORDS[1]} words=
  if (( COMP_CWORD == 1 )); then
    words='${names} --help --version'
  elif [[ " \${COMP_WORDS[*]:1:COMP_CWORD-1} " != *' -- '* ]]; then
    case "$command $before" in
${perChoice((name, flag, choices) => `      '${name} ${flag}') words='${choices}' ;;`)}
      *)
        [[ $word == -* ]] && case $command in
${perCommand((command) => `          ${command.name}) words='${flags(command)}' ;;`)}
        esac
        ;;
    esac
  fi
  COMPREPLY=($(compgen -W "$words" -- "$word"))
}
complete -o default -F _iopf iopf
`;

/** A text of fish's in single quotes. */
const quoted = (text) => `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;
const fish = [
  ...commands.map(
    ({ name, about }) =>
      `complete -c iopf -n __fish_use_subcommand -f -a ${name} -d ${quoted(about)}`,
  ),
  ...commands.flatMap(({ name, options }) =>
    options.map(({ about, choices, flag, takesValue }) => {
      const value =
        choices.length > 0 ? ` -x -a ${quoted(choices.join(' '))}` : takesValue ? ' -r' : '';
      const of = `-n '__fish_seen_subcommand_from ${name}'`;
      return `complete -c iopf ${of} -l ${flag.slice(2)}${value} -d ${quoted(about)}`;
    }),
  ),
  '',
].join('\n');

/** An option of zsh's _arguments: '[about]' and a value with its choices, or a file. */
const zshOption = ({ about, choices, flag, takesValue }) => {
  const text = about.replace(/[[\]:'\\]/g, (character) =>
    character === "'" ? "'\\''" : `\\${character}`,
  );
  const value =
    choices.length > 0 ? `:value:(${choices.join(' ')})` : takesValue ? ':value:_files' : '';
  return `        '*${flag}[${text}]${value}'`;
};
const zsh = `#compdef iopf
_iopf() {
  if (( CURRENT == 2 )); then
    compadd -- ${names} --help --version
    return
  fi
  case $words[2] in
${perCommand(
  (command) =>
    `    ${command.name})
      _arguments \\
${command.options.map(zshOption).join(' \\\n')} \\
        '*::word:_files'
      ;;`,
)}
  esac
}
_iopf "$@"
`;

rmSync('dist/completions', { recursive: true, force: true });
mkdirSync('dist/completions');
writeFileSync('dist/completions/iopf.bash', bash);
writeFileSync('dist/completions/_iopf', zsh);
writeFileSync('dist/completions/iopf.fish', fish);

/** All commands, each loaded when it is named; all of them for the help, and for a wrong name. */
import { commandLoaders, loadCommands } from './commands.js';
import { iopfProgram, runWords } from './program.js';

const words = process.argv.slice(2);
const named = words[0] !== undefined && Object.hasOwn(commandLoaders, words[0]) ? [words[0]] : null;
await runWords(iopfProgram(await loadCommands(named)), words);

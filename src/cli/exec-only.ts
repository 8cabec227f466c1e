/** `iopf exec` alone: what is bundled for it. */
import { execCommand } from './exec.js';
import { iopfProgram, runWords } from './program.js';

void runWords(iopfProgram([execCommand()]), process.argv.slice(2));

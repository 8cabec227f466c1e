/** Writes docs/scenarios.md from the schemas (dist/); `--check`: whether it is so. */
import { readFileSync, writeFileSync } from 'node:fs';
import { scenarioDocument } from '../dist/src/cli/json/file-schemas.js';

const FILE = 'docs/scenarios.md';
const text = scenarioDocument();
if (process.argv[2] !== '--check') writeFileSync(FILE, text);
else if (readFileSync(FILE, 'utf8') !== text) {
  console.error(`${FILE} is not what the schemas say: npm run scenarios`);
  process.exitCode = 1;
}

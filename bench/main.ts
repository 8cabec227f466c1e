/** `npm run bench [-- NAME…] [--rounds N]`: ratios measured side by side in one run. */
import { benchDisk } from './disk.js';
import { benchIntercept } from './intercept.js';

const benches: Record<string, (rounds: number) => void | Promise<void>> = {
  intercept: benchIntercept,
  disk: benchDisk,
};

const words = process.argv.slice(2);
const at = words.indexOf('--rounds');
const rounds = at < 0 ? 5 : Number(words.splice(at, 2)[1]);
const unknown = words.find((name) => !(name in benches));
if (unknown !== undefined || !(rounds >= 1)) {
  console.error(`usage: npm run bench [-- ${Object.keys(benches).join('|')}…] [--rounds N]`);
  process.exit(2);
}
for (const name of words.length > 0 ? words : Object.keys(benches)) await benches[name]!(rounds);

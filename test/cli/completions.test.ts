/** What shells complete (npm test builds first). */
import { spawnSync } from 'node:child_process';
import { describe, expect, test } from 'vitest';
import { have } from '../skip.js';

/** What bash offers for the last of these words. */
function offered(...words: string[]): string[] {
  const script =
    'source dist/completions/iopf.bash; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _iopf; ' +
    `printf "%s\\n" "\${COMPREPLY[@]}"`;
  const { stdout, stderr } = spawnSync('bash', ['-c', script, 'bash', ...words], {
    encoding: 'utf8',
  });
  expect(stderr).toBe('');
  return stdout.split('\n').filter((word) => word !== '');
}

describe.skipIf(!have('bash', 'completions of bash'))('bash completes', () => {
  test.each([
    ['commands', ['c'], ['check', 'compare', 'conformance']],
    ['options of the command', ['exec', '--rec'], ['--reclaim', '--reclaim-scan', '--record']],
    ['no options of another', ['trace', '--re'], []],
    ['the values of an option', ['exec', '--kernel', '6'], ['6.1', '6.12']],
    ['nothing of its own behind --', ['exec', '--', 'sh', '--re'], []],
  ])('%s', (_, words, expected) => {
    expect(offered('iopf', ...words).sort()).toEqual(expected);
  });
});

test.each([
  ['zsh', '_iopf'],
  ['fish', 'iopf.fish'],
])('%s can read its file', (shell, file) => {
  if (!have(shell, `completions of ${shell}`)) return;
  const { status, stderr } = spawnSync(shell, ['-n', `dist/completions/${file}`]);
  expect([status, `${stderr}`]).toEqual([0, '']);
});

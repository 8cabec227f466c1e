import { basename } from 'node:path';
import { expect, it, describe as suite } from 'vitest';
import { kernelVersions } from '../../src/vfio/kernel.js';
import { replayCase } from './replay.js';
import { describe, failed, runFile, vectorFiles } from './run.js';
import { readVectors } from './vectors.js';

const files = vectorFiles(new URL('../vectors', import.meta.url).pathname);

for (const kernel of kernelVersions) {
  suite(`the engine answers as Linux ${kernel}`, () => {
    for (const path of files) {
      it(`in every recorded case of ${basename(path)}`, () => {
        const wrong = runFile(path, kernel).cases.filter(failed).map(describe);
        expect(wrong).toEqual([]);
      });
    }
  });
}

suite('the replay sees', () => {
  const path = files.find((file) => file.endsWith('/group.json'))!;
  const file = readVectors(path);
  const original = file.cases.find((each) => each.name === 'set-container-bad')!;

  it('an errno that is not the recorded one, and only that step', () => {
    const steps = original.steps.map((step, i) => (i === 4 ? { ...step, errno: 'EPERM' } : step));
    const differences = replayCase(file, { ...original, steps }, '6.1');
    expect(differences).toEqual([
      { step: 4, asked: steps[4], expected: { errno: 'EPERM' }, came: { errno: 'EBADF' } },
    ]);
  });

  it('an account that is not the recorded one', () => {
    const steps = original.steps.map((step, i) => (i === 15 ? { ...step, vmLckKb: 4 } : step));
    const differences = replayCase(file, { ...original, steps }, '6.1');
    expect(differences.map((each) => [each.step, each.came])).toEqual([[15, { vmLckKb: 0 }]]);
  });

  it('one byte of an argument that is not the recorded one', () => {
    const steps = original.steps.map((step, i) => (i === 16 ? { ...step, out: '0800000001000000' } : step));
    const differences = replayCase(file, { ...original, steps }, '6.1');
    expect(differences.map((each) => [each.step, each.came])).toEqual([[16, { out: '0800000003000000' }]]);
  });
});

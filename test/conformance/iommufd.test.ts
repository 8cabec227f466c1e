import { basename } from 'node:path';
import { expect, it, describe as suite } from 'vitest';
import { describe, failed, runFile } from '../../src/conformance/run.js';
import { vectorFiles } from '../../src/conformance/vectors.js';

const files = vectorFiles(new URL('../vectors-iommufd', import.meta.url).pathname);

for (const kernel of ['6.12', '7.2'] as const) {
  suite(`the engine answers as Linux ${kernel} on /dev/iommu and a device's own file`, () => {
    for (const path of files) {
      it(`in every case of ${basename(path)} whose calls are there`, () => {
        const wrong = runFile(path, kernel).cases.filter(failed).map(describe);
        expect(wrong).toEqual([]);
      });
    }
  });
}

/** Writes dist/vectors: the recorded answers of real kernels, compressed, for iopf conformance. */
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { gzipSync } from 'node:zlib';

const sets = { vfio: 'test/vectors', iommufd: 'test/vectors-iommufd' };

rmSync('dist/vectors', { recursive: true, force: true });
for (const [set, folder] of Object.entries(sets)) {
  mkdirSync(`dist/vectors/${set}`, { recursive: true });
  for (const name of readdirSync(folder).filter((each) => each.endsWith('.json'))) {
    // Without the space that only its readers want.
    const text = JSON.stringify(JSON.parse(readFileSync(`${folder}/${name}`, 'utf8')));
    writeFileSync(`dist/vectors/${set}/${name}.gz`, gzipSync(text, { level: 9 }));
  }
}

import { basename } from 'node:path';
import { expect, it, describe as suite } from 'vitest';
import { kernelVersions } from '../../src/abi/kernel.js';
import { ContainerIoctl, IopfIoctl, Type1Ioctl, VfioExtension } from '../../src/abi/vfio.js';
import { replayCase } from '../../src/conformance/replay.js';
import { describe, failed, recordedKernel, runFile } from '../../src/conformance/run.js';
import { readVectors, type VectorStep, vectorFiles } from '../../src/conformance/vectors.js';

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
    const steps = original.steps.map((step, i) =>
      i === 16 ? { ...step, out: '0800000001000000' } : step,
    );
    const differences = replayCase(file, { ...original, steps }, '6.1');
    expect(differences.map((each) => [each.step, each.came])).toEqual([
      [16, { out: '0800000003000000' }],
    ]);
  });
});

/**
 * What docs/iopf-abi.md adds: the capability, the extension, the two calls, the flag of MAP_DMA.
 */
function isAddition({ nr, arg }: VectorStep): boolean {
  if (nr === IopfIoctl.VFIO_IOMMU_ENABLE_IOPF || nr === IopfIoctl.VFIO_IOMMU_DISABLE_IOPF)
    return true;
  if (nr === ContainerIoctl.VFIO_CHECK_EXTENSION) return arg === VfioExtension.VFIO_IOPF;
  return nr === Type1Ioctl.VFIO_IOMMU_GET_INFO;
}

suite('a container that could do IOPF and was not asked to', () => {
  it.each(files.map((path) => basename(path)))(
    'differs from the kernel in what IOPF adds alone: %s',
    (name) => {
      const file = readVectors(files.find((path) => basename(path) === name)!);
      // flags-0x9 to flags-0xb ask for a pinned mapping, which the kernel refuses.
      const cases = file.cases.filter(
        (each) => !/^flags-0x[9ab]$/.test(each.name) || file.topic !== 'map-dma',
      );
      const differences = cases.flatMap((each) =>
        replayCase(file, each, recordedKernel(file, '6.12'), 'ask'),
      );
      expect(differences.filter(({ asked }) => !isAddition(asked))).toEqual([]);
    },
  );
});

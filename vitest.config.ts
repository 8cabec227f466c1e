import { availableParallelism } from 'node:os';
import { defineConfig } from 'vitest/config';
import { BaseSequencer, type TestSpecification } from 'vitest/node';

/** Tests of whole runs: most of their time is processes of their own, and waiting for those. */
const wholeRuns = /\/test\/(exec|report|runners|ui|cli|conformance\/live|package)\b/;

/** The engine is slower in a process that has seen other kinds of objects: these have their own. */
const engine =
  'test/{abi,check,device,engine,file,flow,input,ioas,iommu,iommufd,kit,sim,trace,vfio,vfio-user}/**/*.test.ts';

/** What is allocated, and how fast, depends on what the process has compiled before. */
const alone = ['test/ioas/iopf/resident.test.ts', 'test/conformance/*.test.ts'];

/** Whole runs first, so that none of the long ones is alone at the end; the engine in one go. */
class LongFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const sorted = await super.sort(files);
    const rank = ({ moduleId, project }: TestSpecification): number => {
      if (project.name === 'engine') return 2;
      return wholeRuns.test(moduleId) ? 0 : 1;
    };
    return sorted.sort((a, b) => rank(a) - rank(b));
  }
}

export default defineConfig({
  test: {
    // A limit only ends what hangs: it is far above what a busy machine needs.
    testTimeout: 120_000,
    hookTimeout: 120_000,
    expect: { poll: { timeout: 30_000 } },
    // By default vitest leaves a processor to itself, and of two uses one.
    maxWorkers: Math.max(2, availableParallelism() - 1),
    sequence: { sequencer: LongFirst },
    projects: [
      {
        extends: true,
        // Nobody keeps anything outside of objects: a process for each file would cost half a
        // second of a processor.
        test: {
          name: 'runs',
          include: ['test/**/*.test.ts'],
          exclude: [engine, ...alone],
          isolate: false,
        },
      },
      {
        extends: true,
        test: { name: 'engine', include: [engine], exclude: alone, isolate: false },
      },
      { extends: true, test: { name: 'alone', include: alone } },
    ],
  },
});

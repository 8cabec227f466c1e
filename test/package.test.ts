/** What a user gets: the package as `npm pack` makes it, installed elsewhere (needs dist/). */
import { spawnSync } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { transformSync } from 'esbuild';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { documentExamples, entryPoints, headExample } from './entry-points.js';
import { canRunContainers, IOPF, runInContainer, SHARED } from './exec/container/container.js';
import { available, have, moreIsAsked } from './skip.js';

/** Of a few runs on a busy machine. */

const repository = resolve(import.meta.dirname, '..');
const folder = mkdtempSync(join(tmpdir(), 'test-package-'));
const prefix = join(folder, 'prefix');
const installed = join(prefix, 'lib/node_modules/iopf');
const environment = {
  ...process.env,
  PATH: `${join(prefix, 'bin')}:${process.env['PATH']}`,
  npm_config_prefix: prefix,
  npm_config_prefer_offline: 'true',
  npm_config_update_notifier: 'false',
};
const quiet = { env: environment, encoding: 'utf8', timeout: 300_000 } as const;

const packed = spawnSync(
  'npm',
  ['pack', '--ignore-scripts', '--json', '--pack-destination', folder],
  { ...quiet, cwd: repository },
);
const [about] = JSON.parse(packed.stdout) as [{ filename: string; files: { path: string }[] }];
const files = about.files.map(({ path }) => path);

/** Words of docs/ci, by file: what installs, what tests, and the variables around it. */
interface CiFile {
  readonly install: string;
  readonly tests: string;
  readonly variables: readonly string[];
}

const ciText = (name: string): string => readFileSync(join(repository, 'docs/ci', name), 'utf8');

function githubFile(): CiFile {
  const { vfio } = parse(ciText('github.yml')).jobs;
  const runs = vfio.steps.flatMap(({ run }: { run?: string }) => run ?? []);
  return { install: runs[0], tests: runs[1], variables: Object.keys(vfio.env) };
}

function gitlabFile(): CiFile {
  const { vfio } = parse(ciText('gitlab.yml'));
  return {
    install: vfio.before_script[0],
    tests: vfio.script[0],
    variables: Object.keys(vfio.variables),
  };
}

function dockerFile(): CiFile {
  const text = ciText('Dockerfile');
  const one = (word: string): string => new RegExp(`^${word} (.*)$`, 'm').exec(text)![1]!;
  const variables = [...text.matchAll(/^(?:ARG|ENV) (\w+)=/gm)].map(([, name]) => name!);
  return { install: one('RUN'), tests: one('CMD'), variables };
}

const ciFiles = {
  'github.yml': githubFile(),
  'gitlab.yml': gitlabFile(),
  Dockerfile: dockerFile(),
};

function install(): boolean {
  const { status, stderr } = spawnSync('sh', ['-c', ciFiles['github.yml'].install], {
    ...quiet,
    env: { ...environment, IOPF_PACKAGE: join(folder, about.filename) },
    cwd: folder,
  });
  const isOffline = /ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|ENOTCACHED/.test(stderr);
  if (status !== 0 && !isOffline) throw new Error(`npm install: ${stderr}`);
  return available(status === 0, 'the installed package', 'no registry and no cache of npm');
}

/** The variables of docs/ci, for a driver that looks whether there is a VFIO. */
const driverVariables = {
  IOPF_DEVICE: 'edu@0000:00:04.0',
  DRIVER_TESTS: 'test -c /dev/vfio/vfio',
};

/** A repository with kernels.sh where docs/ci.md says. */
function driverFolder(name: string): string {
  const driver = join(folder, name);
  mkdirSync(join(driver, 'ci'), { recursive: true });
  cpSync(join(repository, 'docs/ci/kernels.sh'), join(driver, 'ci/kernels.sh'));
  return driver;
}

function expectResults(driver: string): void {
  for (const kernel of ['6.1', '6.12', '7.2']) {
    const json = readFileSync(join(driver, `iopf-results/${kernel}.json`), 'utf8');
    expect(JSON.parse(json)).toMatchObject({ kernel, exitCode: 0 });
    expect(existsSync(join(driver, `iopf-results/${kernel}.html`))).toBe(true);
  }
}

const iopfIn = (cwd: string, ...words: string[]) => spawnSync('iopf', words, { ...quiet, cwd });
const iopf = (...words: string[]) => iopfIn(folder, ...words);

afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe('the package', () => {
  test('has every file that its Markdown links to', () => {
    const missing = files
      .filter((file) => file.endsWith('.md'))
      .flatMap((file) =>
        [...readFileSync(join(repository, file), 'utf8').matchAll(/\]\(([^)#:\s]+)[^):]*\)/g)]
          .map(([, link]) => join(dirname(file), link!))
          .filter((path) => !files.some((there) => there === path || there.startsWith(`${path}/`)))
          .map((path) => `${file}: ${path}`),
      );
    expect(missing).toEqual([]);
  });

  test('has every example, as source and compiled, and the man page', () => {
    const examples = readdirSync(join(repository, 'examples'));
    for (const name of examples)
      expect(files.some((file) => file.startsWith(`examples/${name}`))).toBe(true);
    for (const name of examples.filter((name) => existsSync(`examples/${name}/main.ts`)))
      expect(files).toContain(`dist/examples/${name}/main.js`);
    expect(files).toContain('dist/iopf.1');
    expect(files).toContain('dist/schemas/iopf.exec-1.json');
    expect(files).toContain('dist/completions/iopf.bash');
  });

  test('declares what docs/api.md says', () => {
    const words = ['scripts/api-report.mjs', '--check'];
    const { stderr } = spawnSync(process.execPath, words, { ...quiet, cwd: repository });
    expect(stderr).toBe('');
  });

  test('has no source map, and nothing that asks for one', () => {
    expect(files.filter((file) => file.endsWith('.map'))).toEqual([]);
    const asking = files.filter(
      (file) =>
        /^dist\/(src|bundle|examples)\/.*\.js$/.test(file) &&
        readFileSync(join(repository, file), 'utf8').includes('\n//# sourceMappingURL='),
    );
    expect(asking).toEqual([]);
  });
});

describe('files for CI', () => {
  test.each(Object.entries(ciFiles))('%s installs and tests as the others do', (_, file) => {
    expect(file).toEqual(ciFiles['github.yml']);
  });
});

describe.skipIf(!install())('installed in an empty folder, the package', () => {
  test('lists its examples', () => {
    const { stdout, stderr } = iopf('example');
    expect(stderr).toBe('');
    for (const name of ['dma-copy', 'guest-paging', 'nvme-poll', 'packet-loop', 'overcommit'])
      expect(stdout).toMatch(new RegExp(`^ {2}${name} `, 'm'));
  });

  test('runs a program on an emulated device', () => {
    const { status, stdout, stderr } = iopf('example', 'dma-copy', '--json', 'run.json');
    expect(stderr).toContain('exit code 0');
    expect(stdout).toContain('100 pages copied by the device, 0 wrong');
    expect(status).toBe(0);
    const run = JSON.parse(readFileSync(join(folder, 'run.json'), 'utf8'));
    expect(run.exitCode).toBe(0);
  });

  test('compares a scenario that it ships', () => {
    const { status, stdout } = iopf('example', 'network-ring', '--policy', 'static,iopf');
    expect(status).toBe(0);
    expect(stdout).toMatch(/^ {2}iopf .* 0 B /m);
  });

  test('checks a scenario in every order', () => {
    const { status, stdout } = iopf('check', 'two-faults-one-page');
    expect(stdout).toContain('0 violations');
    expect(status).toBe(0);
  });

  describe.skipIf(!moreIsAsked('the package as a dependency'))('as a dependency', () => {
    const project = join(folder, 'project');
    const there = { ...quiet, cwd: project };
    const examples: Readonly<Record<string, string>> = {
      ...Object.fromEntries(Object.keys(entryPoints).map((name) => [name, headExample(name)])),
      ...documentExamples(['check', 'compare', 'library', 'recording']),
    };

    beforeAll(() => {
      cpSync(join(installed, 'examples/ring-device'), project, { recursive: true });
      mkdirSync(join(project, 'node_modules'));
      symlinkSync(installed, join(project, 'node_modules/iopf'));
      symlinkSync(join(repository, 'node_modules/@types'), join(project, 'node_modules/@types'));
      writeFileSync(join(project, 'package.json'), '{ "type": "module" }');
      for (const [name, text] of Object.entries(examples)) {
        writeFileSync(join(project, `${name}.ts`), text);
        const { code } = transformSync(text, { loader: 'ts' });
        writeFileSync(join(project, `${name}.js`), code);
      }
    });

    test('has types for what docs and the heads of its entry points show, under strict', () => {
      const names = [...Object.keys(examples), 'ring'];
      expect(names).toEqual(expect.arrayContaining(['check-1', 'library-1']));
      const tsconfig = {
        compilerOptions: { strict: true, noEmit: true, module: 'nodenext', types: ['node'] },
        files: names.map((name) => `${name}.ts`),
      };
      writeFileSync(join(project, 'tsconfig.json'), JSON.stringify(tsconfig));
      const tsc = join(repository, 'node_modules/.bin/tsc');
      expect(spawnSync(tsc, ['-p', '.'], there)).toMatchObject({ stdout: '', status: 0 });
      writeFileSync(
        join(project, 'inside.mjs'),
        "import('iopf/dist/src/iommu/domain.js').catch(({ code }) => console.log(code));",
      );
      const inside = spawnSync(process.execPath, ['inside.mjs'], there);
      expect(inside.stdout).toBe('ERR_PACKAGE_PATH_NOT_EXPORTED\n');
    });

    test('runs the examples at the heads of its entry points', () => {
      const names = ['check', 'compare', 'engine', 'recording', 'compare-0', 'library-0'];
      writeFileSync(
        join(project, 'all.js'),
        names.map((name) => `await import('./${name}.js');`).join('\n'),
      );
      const { stderr, stdout } = spawnSync(process.execPath, ['all.js'], there);
      expect(stderr).toBe('');
      expect(stdout).toMatch(/^\d+ orders, every one: true nothing broken\nstatic \d+ 0\n/);
      expect(stdout).toMatch(/\nhello\n[\s\S]*\n2\n[\s\S]*\nby hand whole 2\n4M \d+ [\d.]+\n/);
      expect(stdout).toMatch(/\nfalse\nEEXIST\n$/);
    });

    test('checks the scenario and the variant of docs/check.md', () => {
      expect(iopfIn(project, 'check', 'check-0.ts').stdout).toMatch(/^my-scenario +every order/);
      const found = iopfIn(project, 'check', '--variant', 'check-1.ts', 'check-0.ts');
      expect(found.stdout).toMatch(/again: iopf check .*check-0\.ts#my-scenario/);
      expect(found.status).toBe(1);
    });

    test('runs a device that is written, its driver, and the tests of that', () => {
      if (!have('cc', 'the driver of a device that is written')) return;
      expect(spawnSync('cc', ['-o', 'driver', 'driver.c'], there).status).toBe(0);
      // As `node --test` does, in a process less.
      writeFileSync(join(project, 'runs.mjs'), "import './exec.js'; import './driver.test.mjs';");
      const { status, stdout } = spawnSync(process.execPath, ['runs.mjs'], there);
      expect(stdout).toMatch(/^. pass 2$/m);
      expect(status).toBe(0);
    });
  });

  test('tells its version', () => {
    const { version } = JSON.parse(readFileSync(join(installed, 'package.json'), 'utf8'));
    expect(iopf('--version').stdout).toBe(`${version}\n`);
  });

  test('runs the tests of docs/ci under three kernels and keeps what they say', () => {
    const driver = driverFolder('passing');
    const run = spawnSync('sh', ['-c', ciFiles['github.yml'].tests], {
      ...quiet,
      env: { ...environment, ...driverVariables },
      cwd: driver,
    });
    expect(run).toMatchObject({ status: 0 });
    expectResults(driver);
  });

  test('fails in docs/ci where a test of the driver fails', () => {
    const { status } = spawnSync('sh', ['-c', ciFiles.Dockerfile.tests], {
      ...quiet,
      env: { ...environment, ...driverVariables, DRIVER_TESTS: 'false', IOPF_KERNELS: '7.2' },
      cwd: driverFolder('failing'),
    });
    expect(status).toBe(1);
  });
});

describe.skipIf(!canRunContainers('docs/ci/Dockerfile'))("under Docker's rules", () => {
  test('the tests of docs/ci/Dockerfile run under three kernels, and what they say is kept', async () => {
    const driver = driverFolder('container');
    const variables = Object.entries(driverVariables).map(([name, value]) => `${name}='${value}'`);
    const words = `cd ${SHARED} && PATH=${IOPF}/bin:$PATH && export ${variables.join(' ')}`;
    const run = await runInContainer({ rules: true }, driver, [
      'sh',
      '-c',
      `${words} && ${ciFiles.Dockerfile.tests}`,
    ]);
    expect(run).toMatchObject({ code: 0 });
    expectResults(driver);
  });
});

/** Devices behind a vfio-user socket: `iopf serve` has them, programs use them. */
import { spawn, spawnSync } from 'node:child_process';
import { randomFillSync } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import { have, moreIsAsked } from '../skip.js';
import { until } from '../until.js';
import { HandServer } from './hand-server.js';
import { iopf, nvme, repository, runIopf } from './run-iopf.js';
import { ServedDevice } from './served-device.js';
import { Testpmd } from './testpmd.js';
import { killRound } from './vfio-user-kills.js';

const net = '0000:03:00.0';
const IMAGE_BYTES = 4 * 2 ** 20;

const servers: ServedDevice[] = [];
let testpmd: Testpmd | null = null;
afterEach(async () => {
  await testpmd?.close();
  testpmd = null;
  for (const server of servers.splice(0)) await server.close();
});

function serve(kind: string, options: readonly string[] = []): Promise<ServedDevice> {
  const server = new ServedDevice(kind, options);
  servers.push(server);
  return server.listening();
}

describe('an nvme of another process', () => {
  test.skipIf(!have('qemu-img', 'qemu-img on a vfio-user nvme'))(
    'has an image there and back, for one client after the other',
    async () => {
      const server = await serve(`nvme,size=${IMAGE_BYTES}`);
      const folder = mkdtempSync(join(tmpdir(), 'test-vfio-user-'));
      try {
        const [image, copy] = [join(folder, 'image'), join(folder, 'copy')];
        writeFileSync(image, randomFillSync(Buffer.alloc(IMAGE_BYTES)));
        const convert = (words: string): Promise<unknown> =>
          runIopf(server.device(nvme), ['qemu-img', 'convert', ...words.split(' ')]).then((run) =>
            expect(run.code, run.stderr).toBe(0),
          );
        await convert(`-f raw -O raw -n ${image} nvme://${nvme}/1`);
        await convert(`-f raw -O raw nvme://${nvme}/1 ${copy}`);
        expect(readFileSync(copy).equals(readFileSync(image))).toBe(true);
      } finally {
        rmSync(folder, { recursive: true, force: true });
      }
    },
  );

  test.each(['auto', 'off'])('is polled through mapped doorbells, --iopf %s', async (mode) => {
    const server = await serve('nvme');
    const program = join(repository, 'dist/examples/nvme-poll/main.js');
    const run = await runIopf(
      [...server.device(nvme), '--iopf', mode],
      [process.execPath, program, nvme, '--depth', '4', '--seconds', '0.3'],
    );
    expect(run.code, run.stderr).toBe(0);
    expect(JSON.parse(run.stdout).perSecond).toBeGreaterThan(0);
    // Pinned memory is the server's to read and write itself.
    const { dmaBytesRead } = run.summary!;
    if (mode === 'auto') expect(dmaBytesRead).toBeGreaterThan(0);
    else expect(dmaBytesRead).toBe(0);
  });
});

const onTestpmd = 'testpmd on a vfio-user virtio-net';
const hasTestpmd = have('dpdk-testpmd', onTestpmd) && moreIsAsked(onTestpmd);

describe('a virtio-net of another process', () => {
  test.skipIf(!hasTestpmd)(
    'sends and receives for dpdk-testpmd, whose memory it has by descriptor',
    async () => {
      const server = await serve('virtio-net');
      const device = `vfio-user@${net},socket=${server.socket}`;
      testpmd = new Testpmd('', [], [], { devices: [device] });
      await testpmd.command('clear port stats all');
      await testpmd.command('set fwd io');
      await testpmd.command('start tx_first');
      let counts = await testpmd.packets();
      while (counts.received < 500) counts = await testpmd.packets();
      await testpmd.command('stop');
      const { code, said } = await testpmd.quit();
      expect(code, said).toBe(0);
    },
  );
});

const onRing = 'a C driver of a served ring.ts';
const hasCompiler = have('gcc', onRing) && moreIsAsked(onRing);

describe("a user's own device in another process", () => {
  test.skipIf(!hasCompiler)('copies pages for a C driver, by messages and interrupts', async () => {
    const example = join(repository, 'examples/ring-device');
    const server = await serve(join(example, 'ring.ts'));
    const driver = join(server.folder, 'driver');
    expect(spawnSync('gcc', ['-o', driver, join(example, 'driver.c')]).status).toBe(0);
    const run = await runIopf(server.device(nvme), [driver, nvme]);
    expect([run.code, run.stdout.slice(0, 32)]).toEqual([0, '100 of 100 pages copied, 0 wrong']);
  });
});

describe('a server that goes wrong', () => {
  test.skipIf(!moreIsAsked('kills of vfio-user servers and clients')).each([1, 4])(
    'is killed, or its client is, at a random moment (round %i)',
    async (seed) => {
      expect(await killRound(seed)).toBeNull();
    },
  );

  test('does not answer: a signal ends the program that waits for it, and the run', async () => {
    const server = new HandServer();
    const client = spawn(
      process.execPath,
      [
        ...[iopf, 'exec', '--device', `vfio-user@${nvme},socket=${server.path},timeout=600s`, '--'],
        ...['sh', '-c', `echo begun; read line; exec cat /sys/bus/pci/devices/${nvme}/config`],
      ],
      { stdio: 'pipe' },
    );
    let said = '';
    for (const stream of [client.stdout, client.stderr])
      stream.on('data', (text) => {
        said += text;
      });
    const ended = new Promise<number | null>((done) => client.on('close', done));
    try {
      await until(() => said.includes('begun'), 'the program begins');
      let asked = false;
      server.device.override = () => {
        asked = true;
        return [];
      };
      client.stdin.write('\n');
      await until(() => asked, 'the server is asked');
      client.kill('SIGINT');
      expect(await ended).toBe(130);
      expect(said).toMatch(/had not answered REGION_READ when the program ended; the device is/);
    } finally {
      client.kill('SIGKILL');
      server.close();
    }
  });

  test('is not there: one message, and nothing runs', async () => {
    const run = await runIopf(['--device', `vfio-user@${net},socket=/no/such/socket`], ['true']);
    expect(run.code).toBe(125);
    expect(run.stderr).toMatch(
      /^iopf: device vfio-user: cannot connect to \/no\/such\/socket: ENOENT.*\n$/,
    );
  });
});

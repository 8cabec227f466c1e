/** `iopf serve [options] KIND` */
import { Command } from 'commander';
import { deviceKinds } from '../device/kinds.js';
import { parsePlaceless } from '../exec/machine/machine-spec.js';
import { say } from '../exec/run/tell.js';
import { checkOutput, writeAll, writeOutput } from '../input/output-file.js';
import { UserError } from '../input/user-error.js';
import { PREMAP_DEFAULT, PREMAP_MOST } from '../ioas/iopf/premap.js';
import type { SocketPlace } from '../serve/serve-options.js';
import { documentOf, jsonOption, jsonText } from './json/document.js';
import { wholeNumber } from './whole-number.js';

interface Options {
  readonly socketPath?: string;
  readonly fd?: number;
  readonly printCapabilities?: true;
  readonly once?: true;
  readonly premap: number;
  readonly json?: string;
  readonly trace?: string;
  readonly record?: string;
  readonly pcap?: string;
  readonly quiet?: true;
}

const DESCRIPTOR_MOST = 2 ** 20;

export function serveCommand(): Command {
  return new Command('serve')
    .description('serve an emulated device to a virtual machine, or another process: vfio-user')
    .argument(
      '<kind[,key=value...]>',
      `the device: ${[...deviceKinds.keys()].join(', ')}, or your own: ./ring.ts`,
    )
    .option('--socket-path <path>', 'listen on a UNIX socket there')
    .option(
      '--fd <number>',
      'take clients from this descriptor: of one client, or one that listens',
      wholeNumber(0, DESCRIPTOR_MOST),
    )
    .option('--print-capabilities', 'print what this server can do, as JSON, and end')
    .option('--once', 'end when the first client is gone')
    .option(
      '--premap <pages>',
      `pages brought in per fault, 1 to ${PREMAP_MOST}`,
      wholeNumber(1, PREMAP_MOST, 'pages'),
      PREMAP_DEFAULT,
    )
    .addOption(jsonOption('the summary'))
    .option('--trace <file>', 'write a trace: kernel text, or Chrome/Perfetto JSON for *.json')
    .option('--record <file>', 'write a recording, for iopf compare and iopf trace')
    .option('--pcap <file>', 'write the frames of network cards as pcapng, for Wireshark')
    .option('--quiet', 'print nothing on stderr but errors')
    .action(run);
}

async function run(kind: string, options: Options): Promise<void> {
  if (options.printCapabilities === true) {
    writeAll(1, `${JSON.stringify({ type: 'vfio-user', features: [] })}\n`);
    return;
  }
  for (const file of [options.json, options.trace, options.record, options.pcap])
    if (file !== undefined) checkOutput(file);
  const { serveDevice } = await import('../serve/serve.js');
  const { formatServed } = await import('../serve/summary-text.js');
  const summary = await serveDevice({
    device: parsePlaceless(kind, `iopf serve ${kind}`),
    at: placeOf(options),
    once: options.once === true,
    premapPages: options.premap,
    trace: options.trace ?? null,
    record: options.record ?? null,
    pcap: options.pcap ?? null,
    quiet: options.quiet === true,
  });
  if (options.quiet !== true) say(`${formatServed(summary)}\n`);
  if (options.json !== undefined) writeOutput(options.json, jsonText(documentOf('serve', summary)));
}

function placeOf({ fd, socketPath }: Options): SocketPlace {
  if (socketPath !== undefined && fd !== undefined)
    throw new UserError('--socket-path and --fd exclude each other');
  if (socketPath !== undefined) return { kind: 'path', path: socketPath };
  if (fd !== undefined) return { kind: 'fd', fd };
  throw new UserError('iopf serve needs --socket-path PATH, or --fd NUMBER');
}

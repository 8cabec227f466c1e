/** `iopf worker [options] URL` */
import { availableParallelism } from 'node:os';
import { Command } from 'commander';
import { tell } from '../exec/run/tell.js';
import { wholeNumber } from './whole-number.js';

interface Options {
  readonly jobs: number;
  readonly allowModules?: true;
  readonly quiet?: true;
}

export function workerCommand(): Command {
  return new Command('worker')
    .description('do jobs of compare, check and plan that other machines leave on a Redis')
    .argument('<url>', 'redis://[USER:PASSWORD@]HOST[:PORT][/DB], or rediss:// for TLS')
    .option('--jobs <number>', 'worker threads', wholeNumber(1, 256), availableParallelism())
    .option('--allow-modules', "also run scenarios and variants of users' own: their code, as you")
    .option('--quiet', 'say nothing')
    .addHelpText(
      'after',
      '\nIOPF_REDIS_USERNAME and IOPF_REDIS_PASSWORD stand in for what the URL lacks; ' +
        'IOPF_REDIS_CA names a file of certificates.' +
        '\nCtrl-C finishes the jobs that run; a second one leaves them to other workers.',
    )
    .action(run);
}

async function run(url: string, options: Options): Promise<void> {
  const { serveJobs } = await import('../runners/queue/worker.js');
  const stop = new AbortController();
  const stopped = (): void => {
    if (stop.signal.aborted) process.exit(130);
    stop.abort();
  };
  process.on('SIGINT', stopped).on('SIGTERM', stopped);
  await serveJobs({
    url,
    threads: options.jobs,
    allowModules: options.allowModules === true,
    tell: options.quiet === true ? () => {} : tell,
    stop: stop.signal,
  });
  // Its handlers keep nothing open, and nothing else does.
  process.off('SIGINT', stopped).off('SIGTERM', stopped);
}

import type { Options } from './exec.js';

/** The options that each of several runs has. */
export function wordsOf(options: Options): string[] {
  const { device = [], deviceErrors, inject = [] } = options;
  const { machine, premap, reclaim, reclaimScan, traps } = options;
  return [
    ...device.flatMap((each) => ['--device', each]),
    ...(machine === undefined ? [] : ['--machine', machine]),
    ...inject.flatMap((each) => ['--inject', each]),
    ...['--premap', `${premap}`, '--traps', traps, '--device-errors', deviceErrors],
    ...(options.iommufdTest === true ? ['--iommufd-test'] : []),
    ...(options.model === undefined ? [] : ['--model', options.model]),
    ...(reclaim === undefined ? [] : ['--reclaim', `${reclaim}`]),
    ...(reclaimScan === undefined ? [] : ['--reclaim-scan', `${reclaimScan}`]),
  ];
}

import { parseTime } from '../../input/time.js';
import type { DeviceKind } from '../kind.js';
import { DeviceOptions, mmapOption, OptionError } from '../options.js';
import { Client } from './client.js';
import { dmaWays } from './dma-maps.js';
import { RemoteFunction } from './function.js';
import { Negotiation } from './negotiation.js';

const options = {
  socket: 'the UNIX socket at which the server listens',
  dma: 'how the server gets at memory: auto (the default), shared, or messages only',
  timeout: 'how long the server may take to answer: 5s unless given, at least 1ms',
  ...mmapOption,
};

const TIMEOUT = '5s';

/** A device that another process has, for `--device vfio-user@BDF,socket=PATH`. */
export const vfioUser: DeviceKind = {
  name: 'vfio-user',
  summary: 'a device of another process, by the vfio-user protocol',
  options,
  create(given, context) {
    const parsed = new DeviceOptions('vfio-user', options, given);
    const path = parsed.text('socket') ?? '';
    if (path === '') throw new OptionError('device vfio-user needs socket=PATH');
    const dma = parsed.choice('dma', dmaWays, 'auto');
    const timeoutMs = parseTime(parsed.text('timeout') ?? TIMEOUT, ['ms', 's']) / 1000;
    if (!(timeoutMs >= 1 && timeoutMs < 2 ** 31))
      parsed.refuse('timeout', 'a time from 1ms on, like 500ms or 5s');
    const { isSparse } = parsed;
    const { peers } = context.host;
    if (peers === undefined)
      throw new OptionError('device vfio-user: this run has no other processes');
    const client = new Client(peers, peers.connect(path), timeoutMs);
    const negotiation = new Negotiation(client, peers, path);
    const device = negotiation.run();
    const made = new RemoteFunction(client, peers, device, context, { path, dma, isSparse });
    if (client.death !== null) negotiation.refuse(client.death);
    return made;
  },
};

/**
 * The engine in a thread of its own: the entry point of a worker. It says `EngineMessage` once, and
 * before that what is to be paged out.
 */
import { parentPort, workerData } from 'node:worker_threads';
import { portWire } from '../live/port-wire.js';
import type { PageOutRequest } from '../reclaim/page-out.js';
import type { EngineOptions } from './engine.js';
import { type EngineMessage, runEngine } from './engine-message.js';

const post = (message: EngineMessage | PageOutRequest): void => parentPort!.postMessage(message);

const options = workerData as EngineOptions;
const wire = options.live === null ? null : portWire(options.live);

void runEngine(options, post, wire).then(post);

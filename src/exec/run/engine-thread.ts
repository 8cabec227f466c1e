/**
 * The engine in a thread of its own: the entry point of a worker. It says `EngineMessage` once, and
 * before that what is to be paged out.
 */
import { parentPort, workerData } from 'node:worker_threads';
import type { PageOutRequest } from '../reclaim/page-out.js';
import type { EngineOptions } from './engine.js';
import { type EngineMessage, runEngine } from './engine-message.js';

const post = (message: EngineMessage | PageOutRequest): void => parentPort!.postMessage(message);

void runEngine(workerData as EngineOptions, post).then(post);

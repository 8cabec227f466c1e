import { VfioError } from '../../abi/errno.js';
import { described } from '../../input/described.js';

/**
 * A scenario of a user cannot be run as it is written: no violation, and nothing that a design
 * could mend. The message says which scenario or actor, and what is wrong.
 */
export class ScenarioMistake extends Error {
  override readonly name = 'ScenarioMistake';
}

/** Errors of JavaScript itself; others are what an author throws to say that something is wrong. */
const programmingErrors = new Set([
  'TypeError',
  'ReferenceError',
  'RangeError',
  'SyntaxError',
  'EvalError',
  'URIError',
]);
/** Where the code that ships lies; what else is on a stack is the user's. */
const shipped = new URL('../../', import.meta.url).href;
const shippedPath = new URL(shipped).pathname;

/**
 * The mistake of an author that an error shows, or null: what is thrown and is no Error, and errors
 * of JavaScript that come from code which is not shipped.
 */
export function mistakeIn(where: string, error: unknown): ScenarioMistake | null {
  if (error instanceof ScenarioMistake)
    return error.message.startsWith(where)
      ? error
      : new ScenarioMistake(`${where}: ${error.message}`);
  // An errno that nobody took: the engine's, and no Error.
  if (error instanceof VfioError) return null;
  const { name, message, stack } = (error ?? {}) as Partial<Error>;
  if (typeof stack !== 'string')
    return new ScenarioMistake(`${where} throws ${described(error)}, which is no Error`);
  if (!programmingErrors.has(String(name))) return null;
  const [frame] = framesOf(stack);
  if (frame === undefined || isShipped(frame)) return null;
  return new ScenarioMistake(`${where}: ${name}: ${message} (${placeOf(frame)})`);
}

/** The innermost place on a stack that is in no shipped file, as `file:line`, or null. */
export function userPlace(stack: string): string | null {
  const frame = framesOf(stack).find((each) => each.includes('/') && !isShipped(each));
  if (frame === undefined) return null;
  return placeOf(frame)
    .replace(/^.*\//, '')
    .replace(/(:\d+):\d+$/, '$1');
}

function framesOf(stack: string): string[] {
  return stack.split('\n').filter((line) => /^\s+at /.test(line) && !line.includes('node:'));
}

function isShipped(frame: string): boolean {
  return frame.includes(shipped) || frame.includes(shippedPath);
}

function placeOf(frame: string): string {
  const place = /\(([^()]*)\)\s*$/.exec(frame)?.[1] ?? frame.trim().replace(/^at (async )?/, '');
  return place.replace(/^file:\/\//, '').replace(/\?[^:]*/, '');
}

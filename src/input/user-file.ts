/**
 * Files that users write: YAML checked against a schema. An error names the line and what is
 * allowed there.
 */
import { type CST, type Document, LineCounter, Parser, parseDocument } from 'yaml';
import type { z } from 'zod';
import { UserError } from './user-error.js';

type Path = readonly PropertyKey[];
type Ranged = { range?: readonly number[] } | undefined;
type Keyed =
  | { items?: readonly { key?: { value?: unknown; range?: readonly number[] } }[] }
  | undefined;

export interface UserFile<T> {
  readonly data: T;
  /** File and line of what stands at this path. */
  place(path: Path): string;
  /** An error about what stands at this path, with the file's name and line. */
  error(path: Path, message: string): UserError;
}

/** Parses and checks a text; `name` is how errors call it. Throws UserError. */
export function parseUserFile<S extends z.ZodType>(
  text: string,
  name: string,
  schema: S,
): UserFile<z.output<S>> {
  const lines = new LineCounter();
  const document = parsed(text, name, lines);
  const written = plain(document, name);
  const lineOf = (path: Path): number => {
    for (let depth = path.length; depth > 0; depth--) {
      const parent = document.getIn(path.slice(0, depth - 1), true) as Keyed;
      const pair = parent?.items?.find((item) => item?.key?.value === path[depth - 1]);
      const range =
        pair?.key?.range ?? (document.getIn(path.slice(0, depth), true) as Ranged)?.range;
      if (range) return lines.linePos(range[0]!).line;
    }
    return 1;
  };
  const place = (path: Path): string => `${name}:${lineOf(path)}`;
  const error = (path: Path, message: string): UserError =>
    new UserError(`${place(path)}: ${path.length === 0 ? '' : `${path.join('.')}: `}${message}`);
  const checked = schema.safeParse(written);
  if (checked.success) return { data: checked.data, place, error };
  const { issues } = checked.error;
  // What else a file of another format says is not to be judged.
  const format = issues.find(({ path }) => path.length === 1 && path[0] === 'schema');
  if (format !== undefined) throw error(format.path, format.message);
  // A misspelt key also makes the right one missing: name the cause.
  const issue = issues.find(({ code }) => code === 'unrecognized_keys') ?? issues[0]!;
  if (issue.code !== 'unrecognized_keys') throw error(issue.path, issue.message);
  const key = issue.keys[0]!;
  const allowed = allowedKeys(schema, written, issue.path).join(', ');
  throw error([...issue.path, key], `unknown key "${key}"; allowed here: ${allowed}`);
}

/** How deep lists and maps lie in each other; nothing that is read here needs a tenth of it. */
const DEPTH_MOST = 100;
/** And how often it is referred to what stands elsewhere. */
const ALIASES_MOST = 200;

/** Throws UserError where a text is no YAML, or more than one document of it. */
function parsed(text: string, name: string, lines: LineCounter): Document {
  refuseBombs(text, name);
  const document = parseDocument(text, { lineCounter: lines, logLevel: 'error' });
  const syntax = document.errors[0];
  if (syntax === undefined) return document;
  const { line } = lines.linePos(syntax.pos[0]);
  const what =
    syntax.code === 'MULTIPLE_DOCS'
      ? 'a second YAML document begins here; one is read of each file'
      : syntax.message.split(/ at line |\n/)[0];
  throw new UserError(`${name}:${line}: ${what}`);
}

/** The data of a document. Throws UserError where aliases would make too much of it. */
function plain(document: Document, name: string): unknown {
  try {
    return document.toJS();
  } catch (error) {
    if (error instanceof ReferenceError) throw tooManyAliases(name);
    throw error;
  }
}

/**
 * Throws UserError where the library would take up the stack, at whose end V8 may end the process,
 * or minutes: for each alias it goes through the document.
 */
function refuseBombs(text: string, name: string): void {
  let level: CST.Token[] = [...new Parser().parse(text)];
  let aliases = 0;
  for (let depth = 0; level.length > 0; depth++) {
    if (depth > DEPTH_MOST) throw tooDeep(name);
    aliases += level.filter(({ type }) => type === 'alias').length;
    level = level.flatMap(inside);
  }
  if (aliases > ALIASES_MOST) throw tooManyAliases(name);
}

/** What lies directly in a token. */
function inside(token: CST.Token): CST.Token[] {
  const found =
    'items' in token
      ? token.items.flatMap(({ key, value }) => [key, value])
      : [token.type === 'document' ? token.value : null];
  return found.filter((each) => each !== null && each !== undefined);
}

function tooManyAliases(name: string): UserError {
  return new UserError(
    `${name}: its aliases (*name) stand for too much; write what they stand for out`,
  );
}

function tooDeep(name: string): UserError {
  return new UserError(`${name}: is nested too deeply`);
}

interface SchemaShape {
  readonly def: {
    readonly type: string;
    readonly shape?: Readonly<Record<string, SchemaShape>>;
    readonly element?: SchemaShape;
    readonly innerType?: SchemaShape;
    readonly in?: SchemaShape;
    readonly out?: SchemaShape;
    readonly options?: readonly SchemaShape[];
    readonly discriminator?: string;
    readonly values?: readonly unknown[];
  };
}

/**
 * The keys of the schema's object at a path; what the file has there tells which of several objects
 * it is.
 */
function allowedKeys(schema: z.ZodType, data: unknown, path: Path): string[] {
  let at = bare(schema as unknown as SchemaShape, data);
  let value = data;
  for (const part of path) {
    value = (value as Record<PropertyKey, unknown>)[part];
    at = bare(at.def.element ?? at.def.shape![String(part)]!, value);
  }
  return Object.keys(at.def.shape ?? {});
}

/** A schema without what is wrapped around it: defaults, optional, transforms, unions of kinds. */
function bare(at: SchemaShape, value: unknown): SchemaShape {
  const { innerType, in: input, out, options, discriminator } = at.def;
  if (innerType !== undefined) return bare(innerType, value);
  // What is transformed before it is checked has its keys behind that.
  if (input !== undefined) return bare(input.def.type === 'transform' ? out! : input, value);
  if (options === undefined || discriminator === undefined) return at;
  const kind = (value as Record<string, unknown>)[discriminator];
  return (
    options.find((option) => option.def.shape?.[discriminator]?.def.values?.includes(kind)) ?? at
  );
}

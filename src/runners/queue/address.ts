/** Where a Redis is, from a URL and the environment. */
import { readNamed } from '../../input/named-file.js';
import { UserError } from '../../input/user-error.js';

export interface RedisAddress {
  readonly host: string;
  readonly port: number;
  readonly db: number;
  readonly username: string | null;
  readonly password: string | null;
  /** Null: no TLS. */
  readonly tls: { readonly ca: string | null } | null;
  /** As messages call it: without secrets. */
  readonly name: string;
}

const PORT = 6379;
const CA_MOST_BYTES = 2 ** 20;

/**
 * `redis://[[USER]:PASSWORD@]HOST[:PORT][/DB]`, with TLS `rediss:`. Everybody on a host sees a
 * command line: `IOPF_REDIS_USERNAME` and `IOPF_REDIS_PASSWORD` stand in for what the URL lacks,
 * and `IOPF_REDIS_CA` names a file of certificates. Throws UserError.
 */
export function redisAddress(
  text: string,
  environment: Readonly<Record<string, string | undefined>> = process.env,
): RedisAddress {
  const refuse = (what: string): UserError =>
    new UserError(`not the address of a Redis: ${what}; redis://HOST[:PORT][/DB] is needed`);
  let url: URL;
  try {
    url = new URL(text);
  } catch {
    throw refuse('it is no URL'); // It may have a password in it.
  }
  const { hostname, pathname, protocol, search, hash } = url;
  if (protocol !== 'redis:' && protocol !== 'rediss:') throw refuse(`it begins with ${protocol}`);
  if (hostname === '') throw refuse('it has no host');
  const db = /^\/?(\d{0,4})$/.exec(pathname)?.[1];
  if (db === undefined || search !== '' || hash !== '')
    throw refuse('behind the host only the number of a database may stand');
  const given = (part: string, name: string): string | null => {
    const value = part === '' ? environment[name] : decoded(part);
    return value === undefined || value === '' ? null : value;
  };
  const host = hostname.replace(/^\[(.*)\]$/, '$1');
  const port = url.port === '' ? PORT : Number(url.port);
  const ca = environment['IOPF_REDIS_CA'];
  return {
    host,
    port,
    db: Number(db),
    username: given(url.username, 'IOPF_REDIS_USERNAME'),
    password: given(url.password, 'IOPF_REDIS_PASSWORD'),
    tls: protocol === 'rediss:' ? { ca: ca === undefined || ca === '' ? null : readCa(ca) } : null,
    name: `${hostname}:${port}`,
  };
}

function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

function readCa(path: string): string {
  return readNamed({ what: 'IOPF_REDIS_CA', path }, CA_MOST_BYTES).toString();
}

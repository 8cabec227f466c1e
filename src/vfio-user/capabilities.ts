/**
 * The JSON text of VERSION: what a peer can do.
 *
 * Keys that nobody knows are ignored, the last of equal keys counts. Text that is not JSON, or a
 * known key with a value of another type, is EINVAL; libvfio-user's parser takes more (quirks.ts).
 */
import { fail } from '../abi/errno.js';
import { TRANSFER_BYTES } from './protocol.js';
import { Version } from './structs.js';

/** The protocol's defaults, which count where a peer does not name a key. */
export interface Capabilities {
  /** Descriptors that it takes with one message. */
  readonly maxMessageDescriptors: number;
  /** Bytes of data that it takes in one message. */
  readonly maxTransferBytes: number;
  readonly maxDmaMaps: number;
  /** Bit n: pages of 2^n bytes. */
  readonly pageSizes: number;
  /** It takes REGION_WRITE_MULTI. */
  readonly writesMultiple: boolean;
  /**
   * Of a client: it wants a second socket for what the server asks; of a server: it sent one.
   */
  readonly twinSocket: boolean;
  /** Of a server: which of the descriptors of its reply the second socket is. */
  readonly twinIndex: number;
}

export const defaultCapabilities: Capabilities = {
  maxMessageDescriptors: 1,
  maxTransferBytes: TRANSFER_BYTES,
  maxDmaMaps: 65535,
  pageSizes: 4096,
  writesMultiple: false,
  twinSocket: false,
  twinIndex: 0,
};

export interface PeerVersion {
  readonly major: number;
  readonly minor: number;
  readonly capabilities: Capabilities;
}

/** SCM_MAX_FD is 253; libvfio-user takes no larger number than this. */
const DESCRIPTORS_MAX = 1024;

/** Reads the body of a VERSION message of either side. EINVAL. */
export function readVersion(body: Uint8Array): PeerVersion {
  if (body.length < Version.size) fail('EINVAL');
  const view = new DataView(body.buffer, body.byteOffset, body.byteLength);
  const major = view.getUint16(Version.at.major, true);
  const minor = view.getUint16(Version.at.minor, true);
  const text = body.subarray(Version.size);
  const capabilities = text.length === 0 ? defaultCapabilities : readCapabilities(text);
  return { major, minor, capabilities };
}

/** The body of a VERSION message. */
export function writeVersion(minor: number, capabilities: Partial<Capabilities>): Uint8Array {
  const text = `${JSON.stringify({ capabilities: jsonOf(capabilities) })}\0`;
  const body = new Uint8Array(Version.size + text.length);
  new DataView(body.buffer).setUint16(Version.at.minor, minor, true);
  body.set(new TextEncoder().encode(text), Version.size);
  return body;
}

/** What a capability is called, and where it may be checked. */
function jsonOf(capabilities: Partial<Capabilities>): Record<string, unknown> {
  const { twinSocket, twinIndex } = capabilities;
  const twin = {
    supported: twinSocket,
    ...(twinIndex === undefined ? {} : { fd_index: twinIndex }),
  };
  return {
    max_msg_fds: capabilities.maxMessageDescriptors,
    max_data_xfer_size: capabilities.maxTransferBytes,
    max_dma_maps: capabilities.maxDmaMaps,
    pgsizes: capabilities.pageSizes,
    write_multiple: capabilities.writesMultiple,
    twin_socket: twinSocket === true ? twin : undefined,
  };
}

function readCapabilities(text: Uint8Array): Capabilities {
  // What lies behind the first zero is not looked at.
  const end = text.indexOf(0);
  if (text.at(-1) !== 0) fail('EINVAL');
  const json = parse(new TextDecoder().decode(text.subarray(0, end)));
  const top = isObject(json) ? json : {};
  const given = objectAt(top, 'capabilities');
  const twin = objectAt(given, 'twin_socket');
  const migration = objectAt(given, 'migration');
  const pageBytes = integerAt(migration, 'pgsize', 0);
  if (pageBytes !== 0 && pageBytes !== defaultCapabilities.pageSizes) fail('EINVAL');
  const maxMessageDescriptors = integerAt(
    given,
    'max_msg_fds',
    defaultCapabilities.maxMessageDescriptors,
  );
  if (maxMessageDescriptors < 0 || maxMessageDescriptors > DESCRIPTORS_MAX) fail('EINVAL');
  const { maxTransferBytes, maxDmaMaps, pageSizes } = defaultCapabilities;
  return {
    maxMessageDescriptors,
    maxTransferBytes: integerAt(given, 'max_data_xfer_size', maxTransferBytes),
    maxDmaMaps: loose(given['max_dma_maps'], maxDmaMaps),
    pageSizes: loose(given['pgsizes'], pageSizes),
    writesMultiple: given['write_multiple'] === true,
    twinSocket: booleanAt(twin, 'supported'),
    twinIndex: loose(twin['fd_index'], 0),
  };
}

type Json = Readonly<Record<string, unknown>>;

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return fail('EINVAL');
  }
}

const isObject = (value: unknown): value is Json =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

function objectAt(parent: Json, key: string): Json {
  const value = parent[key];
  if (value === undefined) return {};
  return isObject(value) ? value : fail('EINVAL');
}

function integerAt(parent: Json, key: string, absent: number): number {
  const value = parent[key];
  if (value === undefined) return absent;
  return typeof value === 'number' && Number.isInteger(value) ? value : fail('EINVAL');
}

function booleanAt(parent: Json, key: string): boolean {
  const value = parent[key];
  if (value === undefined) return false;
  return typeof value === 'boolean' ? value : fail('EINVAL');
}

/** A number that is only advice. */
const loose = (value: unknown, absent: number): number =>
  typeof value === 'number' && Number.isInteger(value) ? value : absent;

/**
 * Who may see a live view: the browser of the user who was given its address, and no other on
 * the machine or in the browser.
 *
 * The token keeps other users and programs out. A web page that the user also has open does not
 * know it; should it guess, the Host header stops a name that was rebound to loopback, and Origin
 * and Sec-Fetch-Site stop everything that another site asks.
 */
import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import type { IncomingHttpHeaders } from 'node:http';

/** 192 bits, as 32 characters of base64url. */
const TOKEN_BYTES = 24;
const URL_LENGTH_MOST = 512;

/**
 * What a request asks for, behind the token: `''` is the page; or the HTTP status that refuses it.
 */
export type Admission =
  | { readonly path: string; readonly query: string }
  | { readonly refused: 403 | 404 | 405 | 414 };

export interface AdmissionRequest {
  readonly method?: string | undefined;
  readonly url?: string | undefined;
  readonly headers: IncomingHttpHeaders;
}

export function makeToken(): string {
  return randomBytes(TOKEN_BYTES).toString('base64url');
}

export function admit(request: AdmissionRequest, token: string, port: number): Admission {
  const { method, url = '', headers } = request;
  if (method !== 'GET' && method !== 'HEAD') return { refused: 405 };
  if (url.length > URL_LENGTH_MOST) return { refused: 414 };
  const hosts = [`127.0.0.1:${port}`, `localhost:${port}`];
  if (!hosts.includes(headers.host ?? '')) return { refused: 403 };
  if (headers.origin !== undefined && !hosts.some((host) => headers.origin === `http://${host}`))
    return { refused: 403 };
  const site = headers['sec-fetch-site'];
  if (site !== undefined && site !== 'same-origin' && site !== 'none') return { refused: 403 };
  const parts = /^\/([^/?]*)(?:\/([^?]*))?(?:\?(.*))?$/s.exec(url);
  if (parts === null || !sameToken(parts[1]!, token)) return { refused: 404 };
  return { path: parts[2] ?? '', query: parts[3] ?? '' };
}

/** Takes the same time wherever the two differ. */
function sameToken(given: string, token: string): boolean {
  const digest = (text: string): Buffer => createHash('sha256').update(text).digest();
  return timingSafeEqual(digest(given), digest(token));
}

// Guards handlers that make a `Response` of a `Request`: Deno, Bun, and what else has the shape of `fetch`.
import { Proxies } from './address.js';
import { isToldByUs, judgeRequest } from './guard.js';

/** @typedef {import('./index.d.ts').Verdict} Verdict */

/** @type {WeakMap<Request, Verdict>} */
const VERDICTS = new WeakMap();

/** Statuses whose answers have no body. */
const BODILESS = new Set([204, 205, 304]);

/** @type {typeof import('./fetch.d.ts').guard} */
export function guard(gate, handler, { trustedProxies = [], peer = peerOf } = {}) {
  const proxies = new Proxies(trustedProxies);
  return async (request, ...rest) => {
    const url = new URL(request.url);
    const headers = [...request.headers];
    if (!request.headers.has('host')) headers.push(['host', url.host]);
    const found = await judgeRequest(gate, proxies, {
      peer: peer(request, ...rest) ?? '',
      method: request.method,
      target: url.pathname + url.search,
      isHttps: url.protocol === 'https:',
      headers,
      read: (most) => read(request, most),
    });
    if (!('verdict' in found)) {
      const hasBody = request.method !== 'HEAD' && !BODILESS.has(found.status);
      const body = hasBody ? /** @type {Uint8Array<ArrayBuffer>} */ (found.body) : null;
      return new Response(body, { status: found.status, headers: found.headers });
    }
    const kept = headers.filter(([name]) => !isToldByUs(name) && (name !== 'host' || request.headers.has('host')));
    const passed = new Request(request, { headers: [...kept, ...found.told] });
    VERDICTS.set(passed, found.verdict);
    return handler(passed, ...rest);
  };
}

/** @type {typeof import('./fetch.d.ts').verdictOf} */
export function verdictOf(request) {
  return VERDICTS.get(request);
}

/**
 * The peer as Deno and Bun tell it.
 * @param {Request} request
 * @param {any[]} rest
 * @returns {string | undefined}
 */
function peerOf(request, ...rest) {
  const [from] = rest;
  if (from?.remoteAddr) return from.remoteAddr.transport === 'unix' ? 'unix' : from.remoteAddr.hostname;
  return typeof from?.requestIP === 'function' ? from.requestIP(request)?.address : undefined;
}

/**
 * The body; null if it has more bytes, or something else has read it.
 * @param {Request} request
 * @param {number} most
 * @returns {Promise<Uint8Array | null>}
 */
async function read(request, most) {
  if (request.body === null) return new Uint8Array();
  if (request.bodyUsed) return null;
  const chunks = [];
  let length = 0;
  const reader = request.body.getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    length += value.length;
    if (length > most) {
      await reader.cancel().catch(() => {});
      return null;
    }
    chunks.push(value);
  }
  const body = new Uint8Array(length);
  let at = 0;
  for (const chunk of chunks) {
    body.set(chunk, at);
    at += chunk.length;
  }
  return body;
}

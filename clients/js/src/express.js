// Middleware of Express and whatever else takes `(request, response, next)`.
import { Proxies } from './address.js';
import { isToldByUs, judgeRequest } from './guard.js';

/** @typedef {import('node:http').IncomingMessage} IncomingMessage */
/** @typedef {import('./index.d.ts').HeaderList} HeaderList */

/** @type {typeof import('./express.d.ts').guard} */
export function guard(gate, { trustedProxies = [] } = {}) {
  const proxies = new Proxies(trustedProxies);
  return (request, response, next) => {
    const told = {
      peer: peerOf(request),
      method: request.method ?? 'GET',
      target: targetOf(request),
      isHttps: 'encrypted' in request.socket,
      headers: pairs(request.rawHeaders),
      read: (/** @type {number} */ most) => read(request, most),
    };
    judgeRequest(gate, proxies, told).then((found) => {
      if ('verdict' in found) {
        tell(request, found.told);
        request.testudo = found.verdict;
        return next();
      }
      response.statusCode = found.status;
      /** @type {Map<string, string[]>} */
      const grouped = new Map();
      for (const [name, value] of found.headers) grouped.set(name, [...(grouped.get(name) ?? []), value]);
      for (const [name, values] of grouped) response.setHeader(name, values.length > 1 ? values : values[0]);
      response.setHeader('content-length', found.body.length);
      response.end(request.method === 'HEAD' ? undefined : found.body);
    }).catch(next);
  };
}

/**
 * Who is at the other end. A peer without an address has gone away, unless the server is known to listen on a socket in the
 * file system: it must not be taken for a proxy.
 * @param {IncomingMessage} request
 */
function peerOf({ socket }) {
  const server = /** @type {{ server?: { address?: () => unknown } }} */ (socket).server;
  return socket.remoteAddress ?? (typeof server?.address?.() === 'string' ? 'unix' : '');
}

/**
 * Express takes the place at which middleware is mounted out of `url`.
 * @param {IncomingMessage & { originalUrl?: string }} request
 */
function targetOf(request) {
  return request.originalUrl ?? request.url ?? '/';
}

/**
 * @param {string[]} raw Names and values in turn.
 * @returns {HeaderList}
 */
function pairs(raw) {
  /** @type {HeaderList} */
  const found = [];
  for (let at = 0; at + 1 < raw.length; at += 2) found.push([raw[at], raw[at + 1]]);
  return found;
}

/**
 * Puts what the application is told in the place of what a visitor sent under such names.
 * @param {IncomingMessage} request
 * @param {HeaderList} told
 */
function tell(request, told) {
  const raw = pairs(request.rawHeaders).filter(([name]) => !isToldByUs(name));
  for (const name of Object.keys(request.headers)) {
    if (isToldByUs(name)) delete request.headers[name];
  }
  // Made of the raw headers when it is first asked for, which may have happened.
  for (const name of Object.keys(request.headersDistinct ?? {})) {
    if (isToldByUs(name)) delete request.headersDistinct[name];
  }
  for (const [name, value] of told) {
    request.headers[name] = value;
    if (request.headersDistinct) request.headersDistinct[name] = [value];
  }
  request.rawHeaders.splice(0, request.rawHeaders.length, ...raw.flat(), ...told.flat());
}

/**
 * The body; null if it has more bytes, or something else has read it.
 * @param {IncomingMessage} request
 * @param {number} most
 * @returns {Promise<Uint8Array | null>}
 */
function read(request, most) {
  const announced = Number(request.headers['content-length'] ?? 0);
  if (announced === 0 && request.headers['transfer-encoding'] === undefined) return Promise.resolve(new Uint8Array());
  if (announced > most || request.readableDidRead) return Promise.resolve(null);
  return new Promise((resolve) => {
    /** @type {Buffer[]} */
    const chunks = [];
    let length = 0;
    request.on('data', (chunk) => {
      length += chunk.length;
      if (length > most) resolve(null);
      else chunks.push(chunk);
    });
    request.on('end', () => resolve(Buffer.concat(chunks)));
    // Who went away in the middle waits for nothing.
    request.on('close', () => resolve(null));
  });
}

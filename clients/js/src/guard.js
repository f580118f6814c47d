// What guarding a site is, apart from how a request comes and an answer goes.
import { GateError } from './exchange.js';
import { ask, failed } from './gate.js';
import { PASSING, REFUSED, actionOf } from './verdict.js';

/** @typedef {import('./index.d.ts').Answer} Answer */
/** @typedef {import('./index.d.ts').Gate} Gate */
/** @typedef {import('./index.d.ts').HeaderList} HeaderList */
/** @typedef {import('./index.d.ts').Verdict} Verdict */

/** The path below which visitors talk to the gate itself. */
const OWN_PATH = '/.well-known/testudo/';

/** The largest form that survives a challenge, in bytes. */
const MAX_FORM = 64 << 10;

/** The largest answer to a challenge, in bytes: that form encoded once more, and what the challenge is made of. */
const MAX_ANSWER = 256 << 10;

/** The types of forms that the gate keeps while a challenge is answered; of the second, only those without files. */
const FORMS = new Set(['application/x-www-form-urlencoded', 'multipart/form-data', 'text/plain']);

/** What may be a method or the name of a header. */
const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,256}$/;

// What concerns one connection only, and what the guard says itself.
const OWN_NAMES = new Set(
  ('host connection keep-alive proxy-connection te trailer transfer-encoding upgrade content-length expect ' +
    'forwarded x-real-ip').split(' '),
);
const OWN_PREFIXES = ['x-testudo-', 'x-original-', 'x-forwarded-'];
// What the gate looks at in a visitor's own request. Other names could be those by which it is told who the user is.
const VISITORS_NAMES = new Set(
  'cookie user-agent origin referer content-type x-http-method x-http-method-override x-method-override'.split(' '),
);
const VISITORS_PREFIXES = ['accept', 'sec-'];
const UNSENT = new Set(['connection', 'keep-alive', 'transfer-encoding', 'content-length', 'date', 'server']);
const TOLD = ['x-testudo-outcome', 'x-testudo-decision', 'x-testudo-type', 'x-testudo-origin', 'x-testudo-scenario'];

/**
 * A request as a server tells it.
 * @typedef {object} Told
 * @property {string} peer
 * @property {string} method
 * @property {string} target
 * @property {boolean} isHttps
 * @property {HeaderList} headers
 * @property {(most: number) => Promise<Uint8Array | null>} read The body; null if it has more bytes, or is gone.
 */

/**
 * A visitor's request.
 * @typedef {object} Visit
 * @property {string} address
 * @property {string} host
 * @property {string} method
 * @property {string} target Path and query, in plain ASCII.
 * @property {boolean} isHttps
 * @property {HeaderList} headers
 * @property {boolean} isByProxy It came from a trusted proxy.
 */

/**
 * An answer to a visitor.
 * @typedef {{ status: number, headers: HeaderList, body: Uint8Array }} Reply
 */

/**
 * Whether a request goes on, with what the application is told; or what the visitor is answered.
 * @param {Gate} gate
 * @param {import('./index.d.ts').Proxies} proxies
 * @param {Told} told
 * @returns {Promise<{ verdict: Verdict, told: HeaderList } | Reply>}
 */
export async function judgeRequest(gate, proxies, told) {
  const visit = visitOf(proxies, told);
  if ('status' in visit) return visit;
  if (isOwn(visit.target)) {
    const body = await told.read(MAX_ANSWER);
    if (body === null) return plain(413, 'Too large\n');
    try {
      return reply(await ask(gate, visit.method, visit.target, about(visit), body));
    } catch (error) {
      failed(gate, error);
      return unavailable();
    }
  }
  let found;
  try {
    found = judge(await ask(gate, 'GET', '/auth', original(visit)));
  } catch (error) {
    const verdict = failed(gate, error);
    return verdict.passes ? { verdict, told: [['x-testudo-outcome', verdict.outcome]] } : unavailable();
  }
  if ('verdict' in found) return found;
  if (found.outcome === null) return refused();
  // A byte of no type, which the gate will not keep, stands for what cannot be kept, so that the page tells.
  const sent = await told.read(hasForm(visit) ? MAX_FORM : 0);
  const headers = original(visit).filter(([name]) => sent !== null || name.toLowerCase() !== 'content-type');
  headers.push(['X-Testudo-Outcome', found.outcome]);
  try {
    const answer = await ask(gate, 'POST', '/page', headers, sent ?? new Uint8Array([0x3f]));
    // One of our own where it is none. Who is refused stays refused.
    return isPage(answer) ? reply(answer) : refused();
  } catch (error) {
    failed(gate, error);
    return refused();
  }
}

/**
 * Reads the answer to a check: a pass, or the outcome of a refusal, null where it has no page.
 * @param {Answer} answer
 * @returns {{ verdict: Verdict, told: HeaderList } | { outcome: string | null }}
 */
export function judge(answer) {
  if (REFUSED.has(answer.status)) return { outcome: null };
  const outcome = header(answer.headers, 'x-testudo-outcome');
  if ((answer.status !== 200 && answer.status !== 403) || outcome === undefined) {
    throw new GateError(`the gate answers with ${answer.status}, and not as a gate does`);
  }
  if (answer.status !== 200 || !PASSING.has(outcome)) return { outcome };
  /** @type {HeaderList} */
  const told = TOLD.map((name) => [name, header(answer.headers, name) ?? '']);
  const [, number, type, origin, scenario] = told.map(([, value]) => value);
  const decision = /^[0-9]{1,15}$/.test(number) ? { id: Number(number), type, origin, scenario, seconds: null } : null;
  const decisions = decision ? [decision] : [];
  const action = actionOf(true, outcome, type);
  return { verdict: { passes: true, action, outcome, decision, decisions, failure: null }, told };
}

/**
 * Whether a header is for the guard to say to the application. Some servers take `_` for `-`.
 * @param {string} name
 */
export function isToldByUs(name) {
  return name.toLowerCase().replaceAll('_', '-').startsWith('x-testudo-');
}

/**
 * Whether a header is not handed on to the gate. What is no name, such as `:authority`, is not.
 * @param {string} given
 * @param {boolean} isByProxy
 */
export function isKeptBack(given, isByProxy) {
  const name = given.toLowerCase().replaceAll('_', '-');
  const begins = (/** @type {string[]} */ prefixes) => prefixes.some((prefix) => name.startsWith(prefix));
  if (!TOKEN.test(given) || OWN_NAMES.has(name) || begins(OWN_PREFIXES)) return true;
  return !isByProxy && !VISITORS_NAMES.has(name) && !begins(VISITORS_PREFIXES);
}

/**
 * Whether a target is meant for the gate.
 * @param {string} target
 */
export function isOwn(target) {
  return target.startsWith(OWN_PATH);
}

/**
 * @param {import('./index.d.ts').Proxies} proxies
 * @param {Told} told
 * @returns {Visit | Reply}
 */
function visitOf(proxies, { peer, method, target, isHttps, headers }) {
  if (!TOKEN.test(method)) return plain(400, 'Not a method\n');
  const lines = headers.filter(([name]) => name.toLowerCase() === 'x-forwarded-for').map(([, value]) => value);
  const address = proxies.client(peer, lines);
  if (address === null) return plain(500, 'nobody says whose request this is: see `trustedProxies`\n');
  const isByProxy = proxies.trusts(peer);
  const scheme = isByProxy ? header(headers, 'x-forwarded-proto')?.trim().toLowerCase() : undefined;
  const host = header(headers, 'host') ?? header(headers, ':authority') ?? '';
  // Only visible ASCII; what is not has bytes as letters.
  const escaped = target.replace(/[^\x21-\x7e]/g, (letter) =>
    letter <= '\xff' ? `%${letter.charCodeAt(0).toString(16).toUpperCase().padStart(2, '0')}` : '?',
  );
  const isSecure = scheme === undefined ? isHttps : scheme === 'https';
  return { address, host, method, target: escaped, isHttps: isSecure, headers, isByProxy };
}

/**
 * Whether a visit brings a form that the gate may keep.
 * @param {Pick<Visit, 'method' | 'headers'>} visit
 */
export function hasForm({ method, headers }) {
  const kind = header(headers, 'content-type') ?? '';
  return method === 'POST' && FORMS.has(kind.split(';')[0].trim().toLowerCase());
}

/**
 * What is told about a visit. What stands here is no visitor's word: theirs are not handed on under these names.
 * @param {Visit} visit
 * @returns {HeaderList}
 */
function about({ host, address, isHttps, headers, isByProxy }) {
  return [
    ['Host', host],
    ['X-Forwarded-For', address],
    ['X-Forwarded-Proto', isHttps ? 'https' : 'http'],
    ...headers.filter(([name]) => !isKeptBack(name, isByProxy)),
  ];
}

/**
 * @param {Visit} visit
 * @returns {HeaderList}
 */
function original(visit) {
  return [...about(visit), ['X-Original-URI', visit.target], ['X-Original-Method', visit.method]];
}

/**
 * Whether an answer says that a visitor may not pass, and is the gate's.
 * @param {Answer} answer
 */
export function isPage({ status, headers }) {
  const isRefusal = (status >= 400 && status < 500) || status === 503;
  return isRefusal && header(headers, 'x-testudo-outcome') !== undefined;
}

/**
 * The gate's answer, for a visitor.
 * @param {Answer} answer
 * @returns {Reply}
 */
function reply({ status, headers, body }) {
  return { status, headers: headers.filter(([name]) => !UNSENT.has(name.toLowerCase())), body };
}

function refused() {
  return plain(403, 'Access refused\n');
}

function unavailable() {
  return plain(503, 'Unavailable: try again in a moment\n', [['Retry-After', '1']]);
}

/**
 * @param {number} status
 * @param {string} text
 * @param {HeaderList} [more]
 * @returns {Reply}
 */
function plain(status, text, more = []) {
  const headers = /** @type {HeaderList} */ ([['Content-Type', 'text/plain; charset=utf-8'], ['Cache-Control', 'no-store'], ...more]);
  return { status, headers, body: new TextEncoder().encode(text) };
}

/**
 * The first value of a header, by its name in small letters.
 * @param {HeaderList} headers
 * @param {string} wanted
 */
function header(headers, wanted) {
  return headers.find(([name]) => name.toLowerCase() === wanted)?.[1];
}

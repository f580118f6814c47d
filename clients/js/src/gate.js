// The client for applications that act on a verdict themselves.
import { parse } from './address.js';
import { Cache } from './cache.js';
import { GateError, exchangeAt, isTooLarge, place } from './exchange.js';
import { ofCheck, ofFailure } from './verdict.js';

/** @typedef {import('./index.d.ts').Answer} Answer */
/** @typedef {import('./index.d.ts').HeaderList} HeaderList */
/** @typedef {import('./index.d.ts').Question} Question */
/** @typedef {import('./index.d.ts').Verdict} Verdict */

/** How long the log is left alone after it was told that the gate cannot be asked, in milliseconds. */
const SILENCE = 10_000;

/**
 * What guards need of a gate, and applications do not.
 * @type {WeakMap<object, {
 *   isOpen: boolean,
 *   exchange: (question: Question) => Promise<Answer>,
 *   log: (message: string) => void,
 *   nextWord: number,
 * }>}
 */
const INSIDES = new WeakMap();

/** A gate, and what holds while it cannot be asked. */
export class Gate {
  #cache;

  /** @param {import('./index.d.ts').GateOptions} options */
  constructor(options) {
    const { fail, timeout = 500, cacheTime = 1_000, cacheSize = 10_000 } = options ?? {};
    if (fail !== 'open' && fail !== 'closed') throw new TypeError("fail: say 'open' or 'closed'");
    if (!(timeout > 0 && timeout <= 60_000)) throw new TypeError('timeout: more than 0 and up to 60000 milliseconds');
    this.#cache = new Cache(cacheTime, cacheSize);
    INSIDES.set(this, {
      isOpen: fail === 'open',
      exchange: options.exchange ?? exchangeAt(place(options.place ?? '127.0.0.1:9740'), timeout),
      log: options.log ?? console.warn,
      nextWord: -Infinity,
    });
  }

  /**
   * @param {string | null} address
   * @param {import('./index.d.ts').CheckOptions} [options]
   * @returns {Promise<Verdict>}
   */
  async check(address, { user = '', host = '', method = 'GET', target = '/' } = {}) {
    const parsed = address === null ? null : parse(address);
    if (address !== null && parsed === null) throw new TypeError(`"${address}" is no address`);
    if (parsed === null && !user) throw new TypeError('name an address, a user, or both');
    const who = { ...(parsed && { ip: parsed.text }), ...(user && { user }) };
    const query = new URLSearchParams({ ...who, host, method, target }).toString();
    return this.#cache.get(query, async () => {
      try {
        return ofCheck(await ask(this, 'GET', `/check?${query}`, [['Host', 'gate']]), Boolean(user));
      } catch (error) {
        return failed(this, error);
      }
    });
  }
}

/**
 * Asks the gate. What it would not take is not sent, and answered as the gate would.
 * @param {import('./index.d.ts').Gate} gate
 * @param {string} method
 * @param {string} target
 * @param {HeaderList} headers
 * @param {Uint8Array} [body]
 */
export async function ask(gate, method, target, headers, body = new Uint8Array()) {
  const question = { method, target, headers, body };
  if (isTooLarge(question)) return { status: 431, headers: [], body: new Uint8Array() };
  return inside(gate).exchange(question);
}

/**
 * What holds while the gate cannot be asked; the log is told now and then.
 * @param {import('./index.d.ts').Gate} gate
 * @param {unknown} error
 */
export function failed(gate, error) {
  const parts = inside(gate);
  const reason = error instanceof GateError ? error.message : `the gate cannot be asked: ${error}`;
  if (performance.now() >= parts.nextWord) {
    parts.nextWord = performance.now() + SILENCE;
    parts.log(`${reason}; visitors are ${parts.isOpen ? 'let pass' : 'refused'}`);
  }
  return ofFailure(parts.isOpen, reason);
}

/** @param {import('./index.d.ts').Gate} gate */
function inside(gate) {
  const parts = INSIDES.get(gate);
  if (!parts) throw new TypeError('a guard needs a `Gate`');
  return parts;
}

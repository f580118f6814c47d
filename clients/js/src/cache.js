// Verdicts that hold for a moment; whoever asks the same at the same time waits for one answer.

import { REFUSED_QUESTION } from './verdict.js';

/** @typedef {import('./index.d.ts').Verdict} Verdict */

/** The longest question whose verdict is held, in letters: it is held with it, and may be a visitor's. */
const MAX_KEY = 4 << 10;

/** Up to `size` verdicts, each for `time` milliseconds. The one that was stored first goes first. */
export class Cache {
  /** @type {Map<string, { end: number, verdict: Verdict }>} */
  #held = new Map();
  /** @type {Map<string, Promise<Verdict>>} */
  #asking = new Map();
  #time;
  #size;

  /**
   * @param {number} time
   * @param {number} size
   */
  constructor(time, size) {
    this.#time = time;
    this.#size = size;
  }

  get size() {
    return this.#held.size;
  }

  /**
   * What is held, or what `ask` says. What comes of a failure, or of a question that was refused for what is in it, is handed to
   * those who wait, and not held; a question of more than `MAX_KEY` is asked each time.
   * @param {string} key
   * @param {() => Promise<Verdict>} ask
   * @returns {Promise<Verdict>}
   */
  get(key, ask) {
    if (key.length > MAX_KEY) return ask();
    const held = this.#held.get(key);
    if (held && held.end > performance.now()) return Promise.resolve(held.verdict);
    const asking = this.#asking.get(key);
    if (asking) return asking;
    const asked = ask()
      .then((verdict) => {
        const mayBeHeld = verdict.failure === null && verdict.outcome !== REFUSED_QUESTION;
        if (mayBeHeld && this.#size > 0) {
          this.#held.delete(key);
          this.#held.set(key, { end: performance.now() + this.#time, verdict });
          if (this.#held.size > this.#size) this.#held.delete(/** @type {string} */ (this.#held.keys().next().value));
        }
        return verdict;
      })
      .finally(() => this.#asking.delete(key));
    this.#asking.set(key, asked);
    return asked;
  }
}

// What the gate says about a visitor, read strictly: what is not understood passes nobody.
import { GateError } from './exchange.js';

/** @typedef {import('./index.d.ts').Verdict} Verdict */
/** @typedef {import('./index.d.ts').Decision} Decision */
/** @typedef {import('./index.d.ts').Action} Action */

/** Outcomes with which a request goes on. One that is not among them is a refusal, whatever else is said. */
export const PASSING = new Set('clean allowed marked passed confirmed mfa slow harmless unchecked'.split(' '));

/** Statuses with which a question is refused for what is in it: the visitor's doing, and no failure of the gate. */
export const REFUSED = new Set([400, 413, 414, 431]);

/** The outcome of such a question. */
export const REFUSED_QUESTION = 'refused';

/** @type {Map<string, Action>} */
const REFUSALS = new Map([
  ['banned', 'ban'],
  ['challenged', 'captcha'],
  ['unconfirmed', 'mfa'],
  ['unidentified', 'mfa'],
  ['throttled', 'throttle'],
  ['restricted', 'restrict'],
  ['unavailable', 'unavailable'],
]);

/**
 * The action of an outcome, where the decision that leads to it is of this kind.
 * @param {boolean} passes
 * @param {string} outcome
 * @param {string | undefined} kind
 * @returns {Action}
 */
export function actionOf(passes, outcome, kind) {
  if (passes) return outcome === 'marked' ? 'header' : outcome === 'mfa' ? 'mfa' : 'pass';
  return REFUSALS.get(outcome) ?? (kind === 'mfa' && !PASSING.has(outcome) ? 'mfa' : 'stop');
}

/**
 * What holds while the gate cannot be asked.
 * @param {boolean} isOpen
 * @param {string} failure
 * @returns {Verdict}
 */
export function ofFailure(isOpen, failure) {
  return isOpen
    ? { passes: true, action: 'pass', outcome: 'unchecked', decision: null, decisions: [], failure }
    : { passes: false, action: 'unavailable', outcome: 'unavailable', decision: null, decisions: [], failure };
}

/**
 * Reads the answer to `/check`, which was asked about a user or not.
 * @param {Pick<import('./index.d.ts').Answer, 'status' | 'body'>} answer
 * @param {boolean} namesUser
 * @returns {Verdict}
 */
export function ofCheck({ status, body }, namesUser) {
  if (REFUSED.has(status)) {
    return { passes: false, action: 'stop', outcome: REFUSED_QUESTION, decision: null, decisions: [], failure: null };
  }
  if (status !== 200) throw new GateError(`the gate answers a check with ${status}`);
  let found;
  try {
    found = JSON.parse(new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(body));
  } catch {
    throw unreadable();
  }
  const { user, pass, outcome, decision: number, decisions: list } = found ?? {};
  const isGood = typeof pass === 'boolean' && typeof outcome === 'string' && Array.isArray(list);
  if (!isGood || (number !== null && !isNumber(number))) throw unreadable();
  const decisions = list.map(decisionOf);
  const passes = pass && PASSING.has(outcome);
  // A gate that knows nothing of users says nothing of one, and so nothing about this one.
  if (passes && namesUser && typeof user !== 'string') throw new GateError("the gate's answer says nothing about the user");
  const decision = decisions.find(({ id }) => id === number) ?? null;
  return { passes, action: actionOf(passes, outcome, decision?.type), outcome, decision, decisions, failure: null };
}

/**
 * @param {any} entry
 * @returns {Decision}
 */
function decisionOf(entry) {
  const { id, type, origin, scenario, seconds } = entry ?? {};
  const areTexts = [type, origin, scenario].every((text) => typeof text === 'string');
  if (!areTexts || !isNumber(id) || !isNumber(seconds)) throw unreadable();
  return { id, type, origin, scenario, seconds };
}

/** @param {unknown} value */
function isNumber(value) {
  return Number.isSafeInteger(value) && Number(value) >= 0;
}

function unreadable() {
  return new GateError("the gate's answer to a check cannot be read");
}

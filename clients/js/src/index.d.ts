/**
 * What is to be done with a visitor. `stop` is a refusal for a reason that this version does not know. `mfa` asks for a second
 * factor: where the verdict passes all the same, it is for the application to ask for it.
 */
export type Action = 'pass' | 'header' | 'ban' | 'captcha' | 'throttle' | 'restrict' | 'mfa' | 'unavailable' | 'stop';

/** A decision about an address. */
export interface Decision {
  readonly id: number;
  /** Such as `ban`, `captcha`. */
  readonly type: string;
  /** Who decided. */
  readonly origin: string;
  /** Why. */
  readonly scenario: string;
  /** How long it holds on; null where the gate does not say, which is so in a guard. */
  readonly seconds: number | null;
}

/** What is to be done with a visitor, and why. */
export interface Verdict {
  /** Whether it goes on. Nothing else says so. */
  readonly passes: boolean;
  readonly action: Action;
  /** The gate's own word, such as `clean`, `banned`, `challenged`. */
  readonly outcome: string;
  /** The decision that leads to it. */
  readonly decision: Decision | null;
  /** All decisions about the address. */
  readonly decisions: readonly Decision[];
  /** Why the gate could not be asked; then it is the fail policy that speaks. */
  readonly failure: string | null;
}

/** Names and values. */
export type HeaderList = [name: string, value: string][];

/** A question to the gate. */
export interface Question {
  method: string;
  target: string;
  headers: HeaderList;
  body: Uint8Array;
}

/** What the gate answered. */
export interface Answer {
  status: number;
  headers: HeaderList;
  body: Uint8Array;
}

export interface GateOptions {
  /** Where the gate listens: an address with a port, or the path of a socket; `127.0.0.1:9740` if nothing is said. */
  place?: string;
  /** While the gate cannot be asked, `open` lets everybody pass, `closed` nobody. */
  fail: 'open' | 'closed';
  /** For a whole question, in milliseconds; 500 if nothing is said. */
  timeout?: number;
  /** How long a verdict holds, in milliseconds; 1000 if nothing is said. */
  cacheTime?: number;
  /** The most verdicts that are held; 10000 if nothing is said. */
  cacheSize?: number;
  /** Told now and then that the gate cannot be asked; `console.warn` if nothing is said. */
  log?: (message: string) => void;
  /**
   * Asks in another way than over sockets of `node:net`, where a runtime has none. It has to hand on the header `Host` as it
   * is, and to reject whatever is not a whole answer.
   */
  exchange?: (question: Question) => Promise<Answer>;
}

/** What is asked about, beside an address, as far as the gate's policy looks at it. */
export interface CheckOptions {
  /** The user, where decisions about users are enforced. */
  user?: string;
  host?: string;
  method?: string;
  target?: string;
}

/** A gate, and what holds while it cannot be asked. */
export class Gate {
  /** Throws a `TypeError` for what cannot be. */
  constructor(options: GateOptions);
  /**
   * What is to be done with an address, a user, or both; counts nothing. Rejects with a `TypeError` for what is no address, and
   * where there is neither; for nothing that the gate does.
   */
  check(address: string | null, options?: CheckOptions): Promise<Verdict>;
}

/** The gate did not answer, or not as a gate does. */
export class GateError extends Error {}

/** The proxies whose word about a client counts: addresses, ranges, and `unix` for peers on a socket in the file system. */
export class Proxies {
  /** Throws a `TypeError` for what is none of them. */
  constructor(trusted?: Iterable<string>);
  /** Whether the word of a peer counts. */
  trusts(peer: string): boolean;
  /**
   * The client's address, IPv4 never in its mapped form; null where nobody can say. `forwardedFor` has the lines of
   * `X-Forwarded-For` in their order.
   */
  client(peer: string, forwardedFor: Iterable<string>): string | null;
}

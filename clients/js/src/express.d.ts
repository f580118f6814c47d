import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Gate, Verdict } from './index.js';

export interface GuardOptions {
  /** Whose word about a client's address counts: addresses, ranges, and `unix`; nobody's if nothing is said. */
  trustedProxies?: Iterable<string>;
}

/** Middleware of Express and whatever else takes `(request, response, next)`. */
export type Middleware = (
  request: IncomingMessage & { testudo?: Verdict },
  response: ServerResponse,
  next: (error?: unknown) => void,
) => void;

/**
 * Guards everything behind it: who may not pass sees the gate's page. To be used before whatever reads bodies.
 *
 * The application finds the verdict in `request.testudo`, and in headers `x-testudo-outcome`, `-decision`, `-type`, `-origin`,
 * `-scenario`, in which nothing stands that a visitor sent.
 */
export function guard(gate: Gate, options?: GuardOptions): Middleware;

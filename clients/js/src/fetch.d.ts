import type { Gate, Verdict } from './index.js';

export interface GuardOptions<Rest extends unknown[]> {
  /** Whose word about a client's address counts: addresses and ranges; nobody's if nothing is said. */
  trustedProxies?: Iterable<string>;
  /**
   * The address at the other end of the connection. If nothing is said, what Deno (`info.remoteAddr`) and Bun
   * (`server.requestIP`) hand to a handler.
   */
  peer?: (request: Request, ...rest: Rest) => string | null | undefined;
}

/**
 * Guards a handler: who may not pass sees the gate's page.
 *
 * The handler finds the verdict by `verdictOf(request)`, and in headers `x-testudo-outcome`, `-decision`, `-type`, `-origin`,
 * `-scenario`, in which nothing stands that a visitor sent.
 */
export function guard<Rest extends unknown[]>(
  gate: Gate,
  handler: (request: Request, ...rest: Rest) => Response | Promise<Response>,
  options?: GuardOptions<Rest>,
): (request: Request, ...rest: Rest) => Promise<Response>;

/** The verdict about a request that a guard let pass. */
export function verdictOf(request: Request): Verdict | undefined;

// Uses every public type as an application would; only its types are looked at.
import { createServer } from 'node:http';
import { Gate, GateError, Proxies, type Action, type Verdict } from '../src/index.js';
import { guard } from '../src/express.js';
import { guard as guardFetch, verdictOf } from '../src/fetch.js';

const gate = new Gate({ place: '/run/gate.sock', fail: 'closed', timeout: 200, cacheTime: 0, cacheSize: 0, log() {} });
const verdict: Verdict = await gate.check('192.0.2.1', { host: 'example.org', method: 'POST', target: '/x' });
const action: Action = verdict.action;
const seconds: number | null | undefined = verdict.decision?.seconds;
const client: string | null = new Proxies(['10.0.0.0/8', 'unix']).client('10.0.0.1', ['192.0.2.1']);
export const shown = [action, seconds, client, GateError];

const middleware = guard(gate, { trustedProxies: ['127.0.0.1'] });
createServer((request, response) => middleware(request, response, () => response.end()));
export default {
  fetch: guardFetch(gate, (request, info: { remoteAddr: { hostname: string } }) => {
    return new Response(`${verdictOf(request)?.outcome} ${info.remoteAddr.hostname}`);
  }, { peer: (_request, info) => info.remoteAddr.hostname }),
};

// @ts-expect-error The policy has to be said.
new Gate({ place: '127.0.0.1:9740' });
// @ts-expect-error It is one of two words.
new Gate({ fail: 'maybe' });

// A site that tells what it got, a handler of the shape of `fetch` behind its guard: `fetch.mjs PORT`. What a runtime with such
// handlers does is done here by a few lines.
import { createServer } from 'node:http';
import { Readable } from 'node:stream';
import { Gate } from '../../../clients/js/src/index.js';
import { guard, verdictOf } from '../../../clients/js/src/fetch.js';

const gate = new Gate({ place: process.env.TESTUDO_GATE, fail: process.env.TESTUDO_GATE_FAIL });

const handler = guard(gate, async (request) => {
  const url = new URL(request.url);
  const body = Buffer.from(await request.arrayBuffer()).toString('latin1');
  if (verdictOf(request)?.outcome !== request.headers.get('x-testudo-outcome')) throw new Error('two verdicts');
  const forged = request.headers.get('x-testudo-scenario') || request.headers.get('x-testudo-new');
  const told = { method: request.method, target: url.pathname + url.search, body, forged };
  return new Response(JSON.stringify({ ...told, outcome: request.headers.get('x-testudo-outcome') }), {
    headers: { 'content-type': 'application/json' },
  });
});

createServer(async (incoming, outgoing) => {
  const hasBody = !['GET', 'HEAD'].includes(incoming.method);
  const headers = [];
  for (let at = 0; at < incoming.rawHeaders.length; at += 2) headers.push(incoming.rawHeaders.slice(at, at + 2));
  const request = new Request(`http://${incoming.headers.host}${incoming.url}`, {
    method: incoming.method,
    headers,
    ...(hasBody && { body: Readable.toWeb(incoming), duplex: 'half' }),
  });
  const response = await handler(request, { remoteAddr: { hostname: incoming.socket.remoteAddress, transport: 'tcp' } });
  outgoing.writeHead(response.status, [...response.headers].flat());
  outgoing.end(Buffer.from(await response.arrayBuffer()));
}).listen(Number(process.argv[2]), '127.0.0.1');

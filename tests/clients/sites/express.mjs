// A site that tells what it got, behind the middleware: `express.mjs PORT`. With Express where NODE_TOOLS has it, else without.
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { Gate } from '../../../clients/js/src/index.js';
import { guard } from '../../../clients/js/src/express.js';

const middleware = guard(new Gate({ place: process.env.TESTUDO_GATE, fail: process.env.TESTUDO_GATE_FAIL }));

function tell(request, response) {
  let body = '';
  request.setEncoding('latin1');
  request.on('data', (data) => (body += data));
  request.on('end', () => {
    const forged = request.headers['x-testudo-scenario'] || request.headers['x-testudo-new'] || null;
    const told = { method: request.method, target: request.originalUrl ?? request.url, body, forged };
    response.setHeader('content-type', 'application/json');
    response.end(JSON.stringify({ ...told, outcome: request.headers['x-testudo-outcome'] }));
  });
}

// Not behind the gate: a page that sends a form by itself.
const form = `<!doctype html><form method=post action="/shop"><input name=a value="é &amp; &quot;x&quot;"></form>
<script>document.forms[0].submit()</script>`;

function page(request, response, next) {
  if (request.url !== '/form.html') return next();
  response.setHeader('content-type', 'text/html; charset=utf-8');
  response.end(form);
}

let listener;
try {
  const express = createRequire(`${process.env.NODE_TOOLS}/`)('express');
  listener = express().use(page).use(middleware).use(tell);
  console.log('with Express');
} catch (error) {
  console.log(`without Express: ${error.message.split('\n')[0]}`);
  listener = (request, response) => page(request, response, () => middleware(request, response, () => tell(request, response)));
}
createServer(listener).listen(Number(process.argv[2]), '127.0.0.1');

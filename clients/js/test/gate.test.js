// The client and the guards against a real gate, and against something that only pretends to be one. Where they listen stands
// in TESTUDO_GATE, TESTUDO_GATE_SOCKET and TESTUDO_STAND_IN; tests/clients/run starts them.
import assert from 'node:assert/strict';
import { readFileSync, rmSync } from 'node:fs';
import { createServer, request as send } from 'node:http';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { test } from 'node:test';
import { Gate } from '../src/index.js';
import { Cache } from '../src/cache.js';
import { exchangeAt, place as placeOf } from '../src/exchange.js';
import { guard } from '../src/express.js';
import { guard as guardFetch, verdictOf } from '../src/fetch.js';
import { ofCheck } from '../src/verdict.js';

const { faults, kept_forms: keptForms, questions } = JSON.parse(readFileSync(new URL('../../vectors.json', import.meta.url), 'utf8'));
const { TESTUDO_GATE: gatePlace, TESTUDO_GATE_SOCKET: gateSocket, TESTUDO_STAND_IN: standIn } = process.env;
const needsGate = { skip: gatePlace && gateSocket ? false : 'no TESTUDO_GATE' };
const needsStandIn = { skip: standIn ? false : 'no TESTUDO_STAND_IN' };
const OWN = '/.well-known/testudo/answer';
const form = { 'content-type': 'application/x-www-form-urlencoded', origin: 'http://example.org', accept: 'text/html' };
const log = () => {};
const name = () => `count-js${process.pid}-${Math.random()}.fault`;

test('what cannot be', async () => {
  assert.throws(() => new Gate({}), TypeError);
  assert.throws(() => new Gate(), TypeError);
  assert.throws(() => new Gate({ fail: 'open', timeout: NaN }), TypeError);
  await assert.rejects(new Gate({ fail: 'open' }).check('192.0.2'), TypeError);
  await assert.rejects(new Gate({ fail: 'open' }).check(null), TypeError);
  const handler = guardFetch({}, () => new Response());
  await assert.rejects(handler(new Request('http://x/'), { remoteAddr: { hostname: '192.0.2.1' } }), TypeError);
});

test('memory is bounded', async () => {
  const cache = new Cache(60_000, 3);
  const verdict = { failure: null };
  for (let number = 0; number < 9; number++) await cache.get(String(number), async () => verdict);
  assert.equal(cache.size, 3);
  const none = new Cache(60_000, 0);
  await none.get('x', async () => verdict);
  assert.equal(none.size, 0);
});

test('what is not held', async () => {
  const cache = new Cache(60_000, 100);
  for (const status of [400, 413, 414, 431]) await cache.get(String(status), async () => ofCheck({ status }, false));
  assert.equal(cache.size, 0, 'what was refused');
  for (const [length, held] of [[4 << 10, 1], [(4 << 10) + 1, 1]]) {
    await cache.get('a'.repeat(length), async () => ({ failure: null, outcome: 'clean' }));
    assert.equal(cache.size, held, String(length));
  }
});

test('what the gate would not take', async () => {
  // Nobody listens: what is sent is a failure, by which everybody passes.
  const gate = new Gate({ place: '127.0.0.1:1', fail: 'open', log });
  for (const { length, is_sent: isSent } of questions.targets) {
    const { passes, outcome } = await gate.check('192.0.2.1', { target: '/'.padEnd(length, 'a') });
    assert.deepEqual([passes, outcome], isSent ? [true, 'unchecked'] : [false, 'refused'], String(length));
  }
  const handler = guardFetch(gate, () => new Response('site'));
  const ask = async (headers, isSent) => {
    const { status } = await handler(new Request('http://x/', { headers }), { remoteAddr: { hostname: '192.0.2.1' } });
    assert.equal(status, isSent ? 200 : 403);
  };
  for (const { length, is_sent: isSent } of questions.cookies) await ask({ cookie: 'a'.repeat(length) }, isSent);
  for (const { count, is_sent: isSent } of questions.headers) {
    await ask(Object.fromEntries(Array.from({ length: count }, (_, number) => [`accept-${number}`, 'x'])), isSent);
  }
});

test('an answer before the end of the question', needsStandIn, async () => {
  const question = { method: 'POST', target: '/', headers: [['Host', 'early.fault']], body: new Uint8Array(8 << 20) };
  const exchange = exchangeAt(placeOf(standIn), 5_000);
  for (let again = 0; again < 20; again++) assert.equal((await exchange(question)).status, 200);
});

test('faults', needsStandIn, async () => {
  const good = await new Gate({ place: standIn, fail: 'closed' }).check('192.0.2.1', { host: 'ok.fault' });
  assert.deepEqual([good.passes, good.failure], [true, null]);
  for (const fault of faults) {
    for (const fail of ['open', 'closed']) {
      const gate = new Gate({ place: fault === 'refuse' ? '127.0.0.1:1' : standIn, fail, timeout: 300, log });
      const verdict = await gate.check('192.0.2.1', { host: `${fault}.fault` });
      assert.deepEqual([verdict.passes, verdict.failure !== null], [fail === 'open', true], `${fault} ${fail}`);
    }
  }
});

test('faults of guards', needsStandIn, async () => {
  const ask = async (fail, place, host, path = '/', method = 'GET') => {
    const gate = new Gate({ place, fail, timeout: 300, log });
    const handler = guardFetch(gate, () => new Response('site'));
    const request = new Request(`http://x${path}`, { method, headers: { host } });
    return (await handler(request, { remoteAddr: { hostname: '192.0.2.1' } })).status;
  };
  assert.equal(await ask('closed', standIn, 'ok.fault'), 200);
  for (const fault of faults) {
    const place = fault === 'refuse' ? '127.0.0.1:1' : standIn;
    assert.equal(await ask('closed', place, `${fault}.fault`), 503, fault);
    assert.equal(await ask('open', place, `${fault}.fault`), 200, fault);
    assert.equal(await ask('open', standIn, `page-${fault}.fault`), 403, fault);
    // What is whole is handed on: these are wrong in their words only.
    const wanted = { html: 200, utf8: 200, error: 500 }[fault] ?? 503;
    assert.equal(await ask('open', place, `${fault}.fault`, OWN, 'POST'), wanted, fault);
  }
});

test('one question for many', needsStandIn, async () => {
  const gate = new Gate({ place: standIn, fail: 'closed', timeout: 5_000, cacheTime: 60_000 });
  const host = name();
  const verdicts = await Promise.all(Array.from({ length: 16 }, () => gate.check('192.0.2.1', { host })));
  verdicts.push(await gate.check('::ffff:192.0.2.1', { host }));
  assert.deepEqual(verdicts.map(({ decision }) => decision.seconds), Array(17).fill(1));
  assert.equal((await gate.check('192.0.2.1', { host, target: '/x' })).decision.seconds, 2);
});

test('nothing is held', needsStandIn, async () => {
  const gate = new Gate({ place: standIn, fail: 'closed', timeout: 5_000, cacheTime: 0 });
  const host = name();
  for (const count of [1, 2]) assert.equal((await gate.check('192.0.2.1', { host })).decision.seconds, count);
  const hasty = new Gate({ place: standIn, fail: 'closed', timeout: 50, cacheTime: 60_000, log });
  for (let again = 0; again < 2; again++) assert.notEqual((await hasty.check('192.0.2.1', { host })).failure, null);
});

test('a failure is not held', async () => {
  const body = new TextEncoder().encode('{"pass":true,"outcome":"clean","decision":null,"decisions":[]}');
  const answers = [() => { throw new Error('gone'); }, () => ({ status: 200, headers: [], body })];
  const gate = new Gate({ fail: 'closed', cacheTime: 60_000, log, exchange: async () => answers.shift()() });
  assert.equal((await gate.check('192.0.2.1')).passes, false);
  assert.equal((await gate.check('192.0.2.1')).passes, true);
  assert.equal((await gate.check('192.0.2.1')).passes, true);
});

test('a real gate', needsGate, async () => {
  const gate = new Gate({ place: gatePlace, fail: 'closed' });
  for (const [address, options, action] of [
    ['192.0.2.9', {}, 'pass'],
    ['192.0.2.10', {}, 'ban'],
    ['::ffff:192.0.2.10', {}, 'ban'],
    ['2001:db8::7', {}, 'ban'],
    ['192.0.2.11', {}, 'captcha'],
    ['192.0.2.13', { method: 'POST' }, 'restrict'],
    ['192.0.2.13', { target: '/a?b=c&d' }, 'pass'],
    ['192.0.2.14', {}, 'header'],
    ['192.0.2.15', {}, 'pass'],
    ['192.0.2.9', { user: 'Alice' }, 'ban'],
    [null, { user: 'Alice' }, 'ban'],
    [null, { user: 'bob' }, 'pass'],
  ]) {
    assert.equal((await gate.check(address, options)).action, action, `${address} ${JSON.stringify(options)}`);
  }
  assert.equal((await gate.check('192.0.2.17')).passes, false, 'a second factor');
  const { decision } = await gate.check('192.0.2.10');
  assert.deepEqual([decision.type, decision.origin, decision.scenario], ['ban', 'local', 'example/probing']);
  for (const { length, is_sent: isSent } of questions.targets) {
    assert.equal((await gate.check('192.0.2.9', { target: '/'.padEnd(length, 'a') })).passes, isSent, String(length));
  }
  assert.equal((await new Gate({ place: gateSocket, fail: 'closed' }).check('192.0.2.10')).action, 'ban');
});

/** Starts a site whose peers are trusted, asks it, and stops it. */
async function site(middleware, listen, act) {
  const server = createServer((request, response) => {
    middleware(request, response, (error) => {
      let body = '';
      request.on('data', (data) => (body += data));
      request.on('end', () => {
        const told = { error: error && String(error), body, raw: request.rawHeaders, headers: request.headers, url: request.url };
        response.end(JSON.stringify({ ...told, outcome: request.testudo?.outcome, distinct: request.headersDistinct }));
      });
    });
  });
  await new Promise((done) => server.listen(listen, done));
  const at = typeof listen === 'string' ? { socketPath: listen } : { port: server.address().port, host: '127.0.0.1' };
  const ask = (options, body) => new Promise((resolve, reject) => {
    const request = send({ ...at, agent: false, ...options }, (response) => {
      let text = '';
      response.setEncoding('utf8');
      response.on('data', (data) => (text += data));
      response.on('end', () => resolve({ status: response.statusCode, headers: response.headers, text }));
    });
    request.on('error', reject);
    request.end(body);
  });
  try {
    await act(ask, at);
  } finally {
    server.closeAllConnections?.();
    await new Promise((done) => server.close(done));
  }
}

test('middleware', needsGate, async () => {
  const gate = new Gate({ place: gatePlace, fail: 'closed' });
  await site(guard(gate, { trustedProxies: ['127.0.0.1'] }), 0, async (ask) => {
    const from = (address, more = {}) => ({ 'x-forwarded-for': address, host: 'example.org', ...more });
    const lies = { 'X-Testudo-Outcome': 'allowed', x_testudo_type: 'x', 'X-Testudo-New': 'x' };
    let answer = await ask({ method: 'POST', path: '/a?b', headers: from('192.0.2.9', lies) }, 'body');
    const told = JSON.parse(answer.text);
    assert.deepEqual([told.url, told.body, told.outcome], ['/a?b', 'body', 'clean']);
    assert.equal(told.headers['x-testudo-outcome'], 'clean');
    assert.deepEqual(told.distinct['x-testudo-outcome'], ['clean']);
    assert.deepEqual(Object.keys(told.headers).filter((key) => /new|_/.test(key)), []);
    assert.equal(told.raw.filter((word) => /allowed|x-testudo-new|x_testudo/i.test(word)).length, 0);
    answer = await ask({ headers: from('192.0.2.9, 192.0.2.10', { accept: 'text/html', 'accept-language': 'de' }) });
    assert.deepEqual([answer.status, answer.text.includes('Zugriff verweigert')], [403, true]);
    answer = await ask({ method: 'HEAD', headers: from('192.0.2.10') });
    assert.deepEqual([answer.status, answer.text], [403, '']);
    answer = await ask({ method: 'POST', headers: from('192.0.2.11', form) }, 'a=b');
    assert.ok(answer.text.includes('name="form" value="a=b"'));
    for (const { type, body } of keptForms) {
      answer = await ask({ method: 'POST', headers: from('192.0.2.11', { ...form, 'content-type': type }) }, body);
      assert.deepEqual([answer.text.includes('name="form"'), answer.text.includes('could not be kept')], [true, false], type);
    }
    // Without a length, and with too much.
    answer = await ask({ method: 'POST', headers: from('192.0.2.11', { ...form, 'transfer-encoding': 'chunked' }) }, 'a=c');
    assert.ok(answer.text.includes('name="form" value="a=c"'));
    const long = 'a='.padEnd(70_000, 'b');
    answer = await ask({ method: 'POST', headers: from('192.0.2.11', { ...form, 'transfer-encoding': 'chunked' }) }, long);
    assert.ok(answer.text.includes('could not be kept'));
    answer = await ask({ method: 'POST', headers: from('192.0.2.11', form) }, long);
    assert.ok(answer.text.includes('could not be kept'));
    answer = await ask({ method: 'POST', path: OWN, headers: from('192.0.2.11', form) }, 'a'.repeat(300_000));
    assert.equal(answer.status, 413);
  });
  await site(guard(gate), 0, async (ask) => {
    assert.equal((await ask({ headers: { 'x-forwarded-for': '192.0.2.10' } })).status, 200, 'a claim');
  });
});

test('a site on a socket', needsGate, async () => {
  const gate = new Gate({ place: gatePlace, fail: 'closed' });
  const path = `${tmpdir()}/testudo-js-${process.pid}.sock`;
  const headers = { 'x-forwarded-for': '192.0.2.10', host: 'example.org' };
  await site(guard(gate, { trustedProxies: ['unix'] }), path, async (ask) => {
    assert.equal((await ask({ headers })).status, 403);
  });
  await site(guard(gate), path, async (ask) => assert.equal((await ask({ headers })).status, 500));
  rmSync(path, { force: true });
});

test('a peer that has gone away is no proxy', needsGate, async () => {
  const gate = new Gate({ place: gatePlace, fail: 'closed' });
  const middleware = guard(gate, { trustedProxies: ['unix'] });
  const gone = { method: 'GET', url: '/', rawHeaders: ['X-Forwarded-For', '192.0.2.9'], headers: {}, socket: {} };
  const status = await new Promise((resolve, reject) => {
    const response = { setHeader() {}, end() { resolve(this.statusCode); } };
    middleware(gone, response, () => reject(new Error('it passes')));
  });
  assert.equal(status, 500);
});

test('who goes away in the middle ends nothing', needsGate, async () => {
  const gate = new Gate({ place: gatePlace, fail: 'closed' });
  await site(guard(gate, { trustedProxies: ['127.0.0.1'] }), 0, async (ask, { port }) => {
    const connection = connect(port, '127.0.0.1');
    const head = 'POST / HTTP/1.1\r\nHost: example.org\r\nX-Forwarded-For: 192.0.2.11\r\nContent-Length: 99\r\n';
    connection.write(`${head}Content-Type: application/x-www-form-urlencoded\r\n\r\na=`);
    await new Promise((done) => setTimeout(done, 100));
    connection.destroy();
    assert.equal((await ask({ headers: { host: 'example.org' } })).status, 200);
  });
});

test('fetch handlers', needsGate, async () => {
  const gate = new Gate({ place: gatePlace, fail: 'closed' });
  const handler = guardFetch(gate, async (request, info) => Response.json({
    outcome: verdictOf(request)?.outcome,
    headers: Object.fromEntries(request.headers),
    body: await request.text(),
    peer: info.remoteAddr.hostname,
  }), { trustedProxies: ['10.0.0.1'] });
  const ask = (peer, path = '/', options = {}) => handler(
    new Request(`http://example.org${path}`, options), { remoteAddr: { hostname: peer, transport: 'tcp' } },
  );
  const lies = { 'x-testudo-outcome': 'allowed', x_testudo_type: 'x', 'x-forwarded-for': '192.0.2.10' };
  const told = await (await ask('192.0.2.9', '/a', { method: 'POST', body: 'body', headers: lies })).json();
  assert.deepEqual([told.outcome, told.headers['x-testudo-outcome'], told.body, told.peer], ['clean', 'clean', 'body', '192.0.2.9']);
  assert.equal(told.headers.x_testudo_type, undefined);
  assert.equal((await ask('10.0.0.1', '/', { headers: lies })).status, 403);
  let answer = await ask('192.0.2.10', '/', { headers: { accept: 'text/html', 'accept-language': 'de' } });
  assert.deepEqual([answer.status, (await answer.text()).includes('Zugriff verweigert')], [403, true]);
  answer = await ask('192.0.2.10', '/', { method: 'HEAD' });
  assert.deepEqual([answer.status, await answer.text()], [403, '']);
  assert.equal((await ask('192.0.2.13', '/a/../admin')).status, 403);
  assert.equal((await ask('', '/')).status, 500, 'nobody');
  for (const { type, body } of keptForms) {
    const text = await (await ask('192.0.2.11', '/', { method: 'POST', body, headers: { ...form, 'content-type': type } })).text();
    assert.deepEqual([text.includes('name="form"'), text.includes('could not be kept')], [true, false], type);
  }
  for (const [body, kept] of [['a=b', 'name="form" value="a=b"'], ['a='.padEnd(70_000, 'b'), 'could not be kept']]) {
    answer = await ask('192.0.2.11', '/', { method: 'POST', body, headers: form });
    assert.ok((await answer.text()).includes(kept));
  }
  assert.equal((await ask('192.0.2.11', OWN, { method: 'POST', body: 'a'.repeat(300_000), headers: form })).status, 413);
  assert.equal((await ask('192.0.2.11', OWN)).headers.get('location'), '/');
  // Bun hands itself to a handler.
  const bun = guardFetch(gate, () => new Response('site'));
  assert.equal((await bun(new Request('http://x/'), { requestIP: () => ({ address: '192.0.2.10' }) })).status, 403);
  // Others have another way to ask.
  const asked = [];
  const exchange = async (question) => {
    asked.push(question);
    return { status: 200, headers: [['x-testudo-outcome', 'clean']], body: new Uint8Array() };
  };
  const other = guardFetch(new Gate({ fail: 'closed', exchange }), () => new Response('site'), { peer: () => '192.0.2.1' });
  assert.equal(await (await other(new Request('http://x/y'))).text(), 'site');
  assert.equal(asked[0].target, '/auth');
});

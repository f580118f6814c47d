// What all clients share: clients/vectors.json.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { GateError, Proxies } from '../src/index.js';
import { place } from '../src/exchange.js';
import { hasForm, isKeptBack, isOwn, isPage, judge } from '../src/guard.js';
import { ofCheck, ofFailure } from '../src/verdict.js';

const vectors = JSON.parse(readFileSync(new URL('../../vectors.json', import.meta.url), 'utf8'));
const bytes = (text) => new TextEncoder().encode(text);

test('addresses', () => {
  for (const { name, peer, proxies, forwarded_for, client } of vectors.addresses) {
    assert.equal(new Proxies(proxies ?? vectors.proxies).client(peer, forwarded_for), client, name);
  }
});

test('bad words', () => {
  for (const entry of vectors.bad_proxies) assert.throws(() => new Proxies([entry]), TypeError, entry);
  for (const entry of vectors.bad_places) assert.throws(() => place(entry), TypeError, entry);
});

test('checks', () => {
  for (const { name, user, status, body, verdict } of vectors.checks) {
    const read = () => ofCheck({ status, headers: [], body: bytes(body) }, user !== undefined);
    if (verdict === 'failure') assert.throws(read, GateError, name);
    else {
      const { failure, ...found } = read();
      assert.deepEqual({ ...found, decisions: found.decisions.length }, verdict, name);
      assert.equal(failure, null);
    }
  }
});

test('failures', () => {
  for (const { fail, verdict } of vectors.failures) {
    const found = ofFailure(fail === 'open', 'why');
    assert.deepEqual({ ...found, ...verdict }, found);
  }
});

test('answers to guards', () => {
  for (const { status, outcome, result } of vectors.gate_answers) {
    const headers = outcome ? [['X-Testudo-Outcome', outcome]] : [];
    const read = () => judge({ status, headers, body: bytes('') });
    if (result === 'failure') assert.throws(read, GateError, `${status} ${outcome}`);
    else if (result === 'pass') assert.equal(read().verdict.passes, true);
    else assert.deepEqual(read(), { outcome: result === 'refused' ? null : outcome });
  }
});

test('pages', () => {
  for (const { status, outcome, page } of vectors.pages) {
    const headers = outcome ? [['X-Testudo-Outcome', outcome]] : [];
    assert.equal(isPage({ status, headers, body: bytes('') }), page, `${status} ${outcome}`);
  }
});

test('forms', () => {
  for (const { method, type, is_sent: isSent } of vectors.forms) {
    assert.equal(hasForm({ method, headers: [['Content-Type', type]] }), isSent, `${method} ${type}`);
  }
});

test('own paths and headers', () => {
  for (const { target, own } of vectors.own_paths) assert.equal(isOwn(target), own, target);
  const kinds = { handed_on: [false, false], handed_on_from_proxies: [true, false], kept_back: [true, true] };
  for (const [kind, expected] of Object.entries(kinds)) {
    for (const name of vectors.headers[kind]) assert.deepEqual([isKeptBack(name, false), isKeptBack(name, true)], expected, name);
  }
});

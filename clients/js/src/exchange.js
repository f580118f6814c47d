// One question to the gate, and its answer, by HTTP/1.0: a connection for each, which ends with the answer.
//
// What is read is bounded and strict: an answer that does not say how long it is, or is shorter, is none.

/** @typedef {import('./index.d.ts').Answer} Answer */
/** @typedef {import('./index.d.ts').Question} Question */
/** @typedef {import('./index.d.ts').HeaderList} HeaderList */

/** The longest head of an answer, in bytes. */
const MAX_HEAD = 64 << 10;
/** The longest body of an answer, in bytes: a page with a form of 64 KiB in it, each byte as an entity of six. */
const MAX_BODY = 1 << 20;
/** The longest head of a question, in bytes, and the most headers in it. The gate takes 64 KiB and 128. */
const MAX_QUESTION = 60 << 10;
const MAX_QUESTION_HEADERS = 120;

/** The gate did not answer, or not as a gate does. */
export class GateError extends Error {}

/**
 * Where a gate listens, as `node:net` has it.
 * @param {string} text
 * @returns {{ path: string } | { host: string, port: number }}
 */
export function place(text) {
  if (text.startsWith('/')) return { path: text };
  const found = /^(\[[0-9A-Fa-f:.]+\]|[0-9A-Za-z._-]+):([0-9]{1,5})$/.exec(text);
  const port = Number(found?.[2] ?? 0);
  if (!found || port < 1 || port > 65_535) {
    throw new TypeError(`the gate's place: "${text}" is neither like 127.0.0.1:9740 nor the path of a socket`);
  }
  return { host: found[1].replace(/^\[|\]$/g, ''), port };
}

/**
 * The head of a question, its bytes as letters.
 * @param {Question} question
 */
function headOf({ method, target, headers, body }) {
  const lines = [`${method} ${target} HTTP/1.0`];
  // Control characters and letters beyond one byte, which no server lets through, become `?`.
  for (const [name, value] of headers) lines.push(`${name}: ${value.replace(/[^\t\x20-\x7e\x80-\xff]/g, '?')}`);
  if (body.length > 0 || method === 'POST') lines.push(`Content-Length: ${body.length}`);
  return `${lines.join('\r\n')}\r\n\r\n`;
}

/**
 * Whether the gate would not take a question. To send it would be to have the connection broken off.
 * @param {Question} question
 */
export function isTooLarge(question) {
  // One may be the length of the body.
  return question.headers.length + 1 > MAX_QUESTION_HEADERS || headOf(question).length > MAX_QUESTION;
}

/** Puts an answer together from what arrives. */
export class Reader {
  #bytes = Buffer.alloc(0);
  /** @type {{ status: number, headers: HeaderList, length: number } | null} */
  #head = null;

  /**
   * Takes more; the answer once it is whole.
   * @param {Uint8Array} data
   * @returns {Answer | null}
   */
  take(data) {
    this.#bytes = Buffer.concat([this.#bytes, data]);
    if (this.#head === null) {
      const end = this.#bytes.subarray(0, MAX_HEAD).indexOf('\r\n\r\n');
      if (end >= 0) {
        this.#head = readHead(this.#bytes.toString('latin1', 0, end));
        this.#bytes = this.#bytes.subarray(end + 4);
      } else if (this.#bytes.length >= MAX_HEAD) {
        throw new GateError("the head of the gate's answer is too long");
      }
    }
    if (this.#head === null || this.#bytes.length < this.#head.length) return null;
    const { status, headers, length } = this.#head;
    return { status, headers, body: this.#bytes.subarray(0, length) };
  }
}

/** @param {string} head */
function readHead(head) {
  const [first, ...lines] = head.split('\r\n');
  const status = /^HTTP\/1\.[01] ([2-5][0-9][0-9])(?: [^\r\n\0]*)?$/.exec(first);
  /** @type {HeaderList} */
  const headers = [];
  for (const line of lines) {
    const found = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\r\n\0]*?)[ \t]*$/.exec(line);
    if (!found) throw new GateError("the gate's answer is not HTTP");
    headers.push([found[1], found[2]]);
  }
  if (!status) throw new GateError("the gate's answer is not HTTP");
  const values = (/** @type {string} */ wanted) => headers.filter(([name]) => name.toLowerCase() === wanted);
  const lengths = values('content-length').map(([, value]) => value);
  const length = lengths.length === 1 && /^[0-9]{1,7}$/.test(lengths[0]) ? Number(lengths[0]) : NaN;
  if (values('transfer-encoding').length > 0 || !(length <= MAX_BODY)) {
    throw new GateError("the gate's answer does not say how long it is, or is too long");
  }
  return { status: Number(status[1]), headers, length };
}

/**
 * Asks at a place, and waits for the answer, so many milliseconds in all.
 * @param {ReturnType<typeof place>} where
 * @param {number} timeout
 * @returns {(question: Question) => Promise<Answer>}
 */
export function exchangeAt(where, timeout) {
  return async (question) => {
    // Not before it is needed: a runtime may have none, and another way to ask.
    const { connect } = await import('node:net');
    return new Promise((resolve, reject) => {
      const reader = new Reader();
      const connection = connect(where);
      const fail = (/** @type {unknown} */ error) => {
        clearTimeout(timer);
        connection.destroy();
        const reason = error instanceof Error ? error.message : String(error);
        reject(error instanceof GateError ? error : new GateError(`the gate cannot be asked: ${reason}`));
      };
      const timer = setTimeout(() => fail('it takes too long'), timeout);
      const write = connection._write.bind(connection);
      // A socket ends where writing fails. Who refuses a question may have said so before all of it was there: what was
      // answered is read first, and where nothing was, reading ends.
      connection._write = (chunk, encoding, done) => write(chunk, encoding, (error) => error || done());
      connection.on('error', fail);
      for (const end of ['end', 'close']) connection.on(end, () => fail(new GateError("the gate's answer is cut off")));
      connection.on('data', (data) => {
        try {
          const answer = reader.take(data);
          if (answer === null) return;
          clearTimeout(timer);
          resolve(answer);
          connection.destroy();
        } catch (error) {
          fail(error);
        }
      });
      connection.write(Buffer.concat([Buffer.from(headOf(question), 'latin1'), question.body]));
    });
  };
}

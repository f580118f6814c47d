// Whose request it is, where proxies stand in between.
//
// Anybody can send `X-Forwarded-For`. So it counts only if the peer that sent it is trusted, and of its hops only those that
// trusted peers wrote: from the right up to the first address that is not a trusted proxy.

/** The most hops that are looked at. */
const MAX_HOPS = 32;

/**
 * An address: its bytes, four or sixteen, and its usual form.
 * @typedef {{ bytes: number[], text: string }} Address
 */

/** Proxies whose word counts. */
export class Proxies {
  /** @type {{ bytes: number[], bits: number }[]} */
  #ranges = [];
  #trustsSockets = false;

  /** @param {Iterable<string>} [trusted] */
  constructor(trusted = []) {
    for (const entry of trusted) {
      if (entry === 'unix') this.#trustsSockets = true;
      else this.#ranges.push(range(entry));
    }
  }

  /**
   * @param {string} peer
   * @returns {boolean}
   */
  trusts(peer) {
    if (peer === 'unix') return this.#trustsSockets;
    const address = parse(peer);
    return address !== null && this.#has(address);
  }

  /**
   * @param {string} peer
   * @param {Iterable<string>} forwardedFor
   * @returns {string | null}
   */
  client(peer, forwardedFor) {
    let last = parse(peer);
    if (this.trusts(peer)) {
      const hops = [...forwardedFor].flatMap((line) => line.split(',')).reverse();
      for (const text of hops.slice(0, MAX_HOPS)) {
        const hop = parseHop(text);
        // What stands left of one that cannot be read is worth nothing.
        if (hop === null) break;
        last = hop;
        if (!this.#has(hop)) break;
      }
    }
    return last && last.text;
  }

  /** @param {Address} address */
  #has({ bytes }) {
    return this.#ranges.some((range) => range.bytes.length === bytes.length && starts(bytes, range.bytes, range.bits));
  }
}

/**
 * Whether two addresses begin with the same bits.
 * @param {number[]} one
 * @param {number[]} other
 * @param {number} bits
 */
function starts(one, other, bits) {
  return one.every((byte, at) => {
    const here = Math.min(Math.max(bits - 8 * at, 0), 8);
    return ((byte ^ other[at]) & (0xff << (8 - here)) & 0xff) === 0;
  });
}

/**
 * An address, without its zone, IPv4 never in its mapped form.
 * @param {string} text
 * @returns {Address | null}
 */
export function parse(text) {
  const { address, isMapped } = read(text);
  return address && isMapped ? v4(address.bytes.slice(12)) : address;
}

/**
 * @param {string} text
 * @returns {{ address: Address | null, isMapped: boolean }}
 */
function read(text) {
  const [, bare, zone] = /^([0-9A-Fa-f:.]*)(%[^]+)?$/.exec(text) ?? [];
  if (!bare) return { address: null, isMapped: false };
  if (!bare.includes(':')) {
    const parts = bare.split('.');
    const isGood = !zone && parts.length === 4 && parts.every((part) => /^(0|[1-9][0-9]{0,2})$/.test(part) && Number(part) < 256);
    return { address: isGood ? v4(parts.map(Number)) : null, isMapped: false };
  }
  let usual;
  try {
    usual = new URL(`http://[${bare}]`).hostname.slice(1, -1);
  } catch {
    return { address: null, isMapped: false };
  }
  const bytes = expand(usual);
  const isMapped = bytes.slice(0, 10).every((byte) => byte === 0) && bytes[10] === 255 && bytes[11] === 255;
  return { address: { bytes, text: usual }, isMapped };
}

/**
 * @param {number[]} bytes
 * @returns {Address}
 */
function v4(bytes) {
  return { bytes, text: bytes.join('.') };
}

/** @param {string} usual An IPv6 address in its usual form. */
function expand(usual) {
  const [left, right] = usual.split('::').map((half) => (half ? half.split(':') : []));
  const middle = right ? Array(8 - left.length - right.length).fill('0') : [];
  return [...left, ...middle, ...(right ?? [])].flatMap((group) => {
    const number = parseInt(group, 16);
    return [number >> 8, number & 0xff];
  });
}

/**
 * An address that may have a port: `192.0.2.1:443`, `[2001:db8::1]:443`.
 * @param {string} given
 */
function parseHop(given) {
  const text = given.replace(/^[ \t]+|[ \t]+$/g, '');
  const [, six, four, port] = /^(?:\[([^\]]*:[^\]]*)\]|([^:[\]]*))(?::([0-9]{1,5}))?$/.exec(text) ?? [];
  if (port !== undefined && Number(port) > 65_535) return null;
  return parse(six ?? four ?? text);
}

/** @param {string} entry */
function range(entry) {
  const [text, bits, ...more] = entry.split('/');
  const { address, isMapped } = text.includes('%') ? { address: null, isMapped: false } : read(text);
  const skipped = isMapped ? 12 : 0;
  const most = address ? 8 * address.bytes.length : 0;
  const length = bits === undefined ? most : /^[0-9]{1,3}$/.test(bits) ? Number(bits) : NaN;
  if (!address || more.length > 0 || !(length <= most) || length < 8 * skipped) {
    throw new TypeError(`trusted proxies: "${entry}" is neither an address nor a range such as 10.0.0.0/8, nor \`unix\``);
  }
  return { bytes: address.bytes.slice(skipped), bits: length - 8 * skipped };
}

// Finds a number so that the SHA-256 of "seed:number" begins with enough zero bits. In plain code: what browsers have
// built in for it is missing on pages without TLS, and slow for short texts.
(function () {
  "use strict";
  var form = document.getElementById("challenge");
  var status = document.getElementById("status");
  var bar = document.getElementById("bar");
  var other = document.getElementById("other");
  var seed = form.getAttribute("data-seed") + ":";
  var bits = Number(form.getAttribute("data-bits"));

  // The constants of the algorithm: the first bits behind the point of the roots of the first primes.
  var rounds = [], start = [];
  for (var prime = 2; rounds.length < 64; prime++) {
    var isPrime = true;
    for (var divisor = 2; divisor * divisor <= prime; divisor++) {
      if (prime % divisor === 0) { isPrime = false; break; }
    }
    if (!isPrime) continue;
    if (start.length < 8) start.push(((Math.sqrt(prime) % 1) * 4294967296) | 0);
    rounds.push(((Math.cbrt(prime) % 1) * 4294967296) | 0);
  }
  var constants = new Int32Array(rounds);
  var words = new Int32Array(64);
  var block = new Uint8Array(64);
  for (var i = 0; i < seed.length; i++) block[i] = seed.charCodeAt(i);

  // The number of leading zero bits, up to 32, for one number. Everything fits into one block.
  function zeros(number) {
    var digits = String(number), length = seed.length + digits.length, t;
    for (t = 0; t < digits.length; t++) block[seed.length + t] = digits.charCodeAt(t);
    block[length] = 128;
    for (t = length + 1; t < 64; t++) block[t] = 0;
    block[62] = (length * 8) >> 8;
    block[63] = (length * 8) & 255;
    for (t = 0; t < 16; t++) {
      words[t] = (block[4 * t] << 24) | (block[4 * t + 1] << 16) | (block[4 * t + 2] << 8) | block[4 * t + 3];
    }
    for (t = 16; t < 64; t++) {
      var x = words[t - 15], y = words[t - 2];
      words[t] = (words[t - 16] + words[t - 7] +
        (((x >>> 7) | (x << 25)) ^ ((x >>> 18) | (x << 14)) ^ (x >>> 3)) +
        (((y >>> 17) | (y << 15)) ^ ((y >>> 19) | (y << 13)) ^ (y >>> 10))) | 0;
    }
    var a = start[0], b = start[1], c = start[2], d = start[3];
    var e = start[4], f = start[5], g = start[6], h = start[7];
    for (t = 0; t < 64; t++) {
      var one = (h + constants[t] + words[t] + ((e & f) ^ (~e & g)) +
        (((e >>> 6) | (e << 26)) ^ ((e >>> 11) | (e << 21)) ^ ((e >>> 25) | (e << 7)))) | 0;
      var two = ((((a >>> 2) | (a << 30)) ^ ((a >>> 13) | (a << 19)) ^ ((a >>> 22) | (a << 10))) +
        ((a & b) ^ (a & c) ^ (b & c))) | 0;
      h = g; g = f; f = e; e = (d + one) | 0;
      d = c; c = b; b = a; a = (one + two) | 0;
    }
    return Math.clz32((a + start[0]) | 0);
  }

  var number = 0, expected = Math.pow(2, bits), channel = new MessageChannel();
  // In short pieces, so that the page stays alive; by messages, as timers rest in tabs in the background.
  channel.port1.onmessage = function () {
    var end = Date.now() + 40;
    do {
      for (var i = 0; i < 256; i++, number++) {
        if (zeros(number) >= bits) {
          bar.value = 1;
          status.textContent = status.getAttribute("data-done");
          form.elements.answer.value = String(number);
          HTMLFormElement.prototype.submit.call(form);
          return;
        }
      }
    } while (Date.now() < end);
    bar.value = 1 - Math.exp(-number / expected);
    channel.port2.postMessage(0);
  };
  // The way back in a browser's history shows a challenge that was answered.
  window.addEventListener("pageshow", function (event) { if (event.persisted) location.reload(); });
  other.open = false;
  bar.hidden = false;
  status.textContent = status.getAttribute("data-working");
  channel.port2.postMessage(0);
})();

// check.mjs PLACE ADDRESS: says what is to be done with an address; ends with 0 if it passes.
import { Gate } from '../src/index.js';

const [place, address] = process.argv.slice(2);
const verdict = await new Gate({ place, fail: 'closed', log() {} }).check(address);
console.log(`${verdict.action}: ${verdict.failure ?? verdict.outcome}`);
process.exitCode = verdict.passes ? 0 : 1;

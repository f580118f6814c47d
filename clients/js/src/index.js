// Asks Testudo's gate who may pass. Nothing but what the runtime brings is needed.
export { Proxies } from './address.js';
export { GateError } from './exchange.js';
export { Gate } from './gate.js';

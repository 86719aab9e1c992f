// @ts-check
/**
 * A small Socket.IO v5 client over one Engine.IO v4 WebSocket, for the namespace `/` and JSON
 * only. It knows nothing of the hub: no tokens, no signatures, and no opinion on what a refusal
 * means; the owner decides that and calls `reopen` or `close`.
 *
 * Events of its own (the hub's are emitted under their own names):
 *   "connect" {sid}, "connect_error" {message, data}, "disconnect" {reason, code},
 *   "engine:ping", "engine:waiting" {delayMs}.
 * After "connect_error", or a DISCONNECT of the server, it stays down as stock clients do.
 */

import { Emitter } from "./emitter.js";
import { Unreachable } from "./errors.js";

const OPEN_TIMEOUT_MS = 20_000; // stock client's connect timeout
const READY = 1; // WebSocket.OPEN
const ACK_TIMEOUT_MS = 10_000;
const BACKOFF_FIRST_MS = 1_000; // stock client: 1 s doubling to 5 s, +-50 %
const BACKOFF_LAST_MS = 5_000;
const OWN_EVENTS = new Set(["connect", "connect_error", "disconnect", "engine:ping", "engine:waiting"]);

/**
 * @typedef {object} Packet
 * @property {string} type one digit
 * @property {string} namespace
 * @property {number | null} id
 * @property {any} data
 */

/** @param {string} message a Socket.IO packet @returns {Packet} @throws {SyntaxError} not a packet */
export function decodePacket(message) {
  const match = /^([0-6])(?:(\/[^,]*),?)?(\d+)?(.*)$/s.exec(message);
  if (!match) throw new SyntaxError("not a Socket.IO packet");
  const [, type, namespace = "/", id, body] = match;
  return { type, namespace, id: id ? Number(id) : null, data: body ? JSON.parse(body) : undefined };
}

/** @param {string} name @param {any[]} args @param {number} [id] @returns {string} a frame */
export function encodeEvent(name, args, id) {
  return `42${id ?? ""}${JSON.stringify([name, ...args])}`;
}

/**
 * @param {number} attempt 0 for the first
 * @param {() => number} random in [0, 1)
 * @returns {number} milliseconds, +-50 %
 */
export function backoff(attempt, random) {
  const full = Math.min(BACKOFF_FIRST_MS * 2 ** Math.min(attempt, 16), BACKOFF_LAST_MS);
  return Math.round(full * (0.5 + random()));
}

export class SocketIO extends Emitter {
  #url;
  #auth;
  #Wire;
  #random;
  /** @type {WebSocket | null} */
  #wire = null;
  #connected = false;
  #wanted = false;
  #attempt = 0;
  #holdOffMs = 0;
  #silenceMs = 0;
  #nextAck = 0;
  /** @type {Map<number, {settle: (data: any) => void, fail: (error: Error) => void, timer: any}>} */
  #acks = new Map();
  /** @type {any} */
  #openTimer;
  /** @type {any} */
  #pingTimer;
  /** @type {any} */
  #retryTimer;

  /**
   * @param {object} options
   * @param {string} options.url the whole `ws:` or `wss:` address, with its query
   * @param {() => Promise<object>} options.auth asked anew at each CONNECT
   * @param {typeof WebSocket} [options.Wire]
   * @param {() => number} [options.random]
   */
  constructor({ url, auth, Wire = WebSocket, random = Math.random }) {
    super();
    this.#url = url;
    this.#auth = auth;
    this.#Wire = Wire;
    this.#random = random;
  }

  /** @returns {boolean} whether the namespace is joined */
  get connected() {
    return this.#connected;
  }

  /** @returns {boolean} whether it is connected, or will try again of its own accord */
  get trying() {
    return this.#wanted;
  }

  /** Start, and keep trying until `close`. */
  open() {
    this.reopen({ afterMs: 0 });
  }

  /** Drop what there is and begin again. @param {{afterMs: number}} options */
  reopen({ afterMs }) {
    this.#drop({ reason: "reopened", code: 1000 });
    this.#wanted = true;
    clearTimeout(this.#retryTimer);
    this.#retryTimer = setTimeout(() => this.#dial(), afterMs);
  }

  /** Stay away. */
  close() {
    this.#wanted = false;
    clearTimeout(this.#retryTimer);
    if (this.#connected) this.#send("41");
    this.#drop({ reason: "client namespace disconnect", code: 1000 });
  }

  /** The next automatic reconnect waits at least so long. @param {number} delayMs */
  holdOff(delayMs) {
    this.#holdOffMs = delayMs;
  }

  /**
   * Ask, and wait for the answer. Nothing is buffered while offline.
   * @param {string} name
   * @param {any} data
   * @param {{timeoutMs?: number}} [options]
   * @returns {Promise<any>} the ack's first argument
   * @throws {Unreachable} `disconnected` or `timeout`
   */
  call(name, data, { timeoutMs = ACK_TIMEOUT_MS } = {}) {
    if (!this.#connected) return Promise.reject(new Unreachable("disconnected", "Not connected."));
    const id = this.#nextAck++;
    return new Promise((settle, fail) => {
      const timer = setTimeout(() => this.#expire(id), timeoutMs);
      this.#acks.set(id, { settle, fail, timer });
      this.#send(encodeEvent(name, [data], id));
    });
  }

  // --- the transport --------------------------------------------------------------------------

  #dial() {
    const wire = new this.#Wire(this.#url);
    this.#wire = wire;
    this.#openTimer = setTimeout(() => this.#lost({ reason: "timeout", code: 1006 }), OPEN_TIMEOUT_MS);
    wire.onmessage = ({ data }) => this.#receiveFrame(data);
    wire.onclose = ({ code }) => this.#lost({ reason: "transport close", code });
  }

  /** @param {string} frame */
  #send(frame) {
    if (this.#wire?.readyState === READY) this.#wire.send(frame);
  }

  /** @param {any} frame */
  #receiveFrame(frame) {
    if (typeof frame !== "string") return this.#lost({ reason: "parse error", code: 1003 });
    try {
      this.#receiveEngine(frame[0], frame.slice(1));
    } catch (error) {
      if (!(error instanceof SyntaxError)) throw error;
      this.#lost({ reason: "parse error", code: 1002 });
    }
  }

  /** @param {string} type @param {string} data */
  #receiveEngine(type, data) {
    if (type === "0") return this.#handshake(JSON.parse(data));
    if (type === "1") return this.#lost({ reason: "transport close", code: 1000 });
    if (type === "2") return this.#answerPing(data);
    if (type === "4") return this.#receivePacket(decodePacket(data));
  }

  /** @param {{pingInterval: number, pingTimeout: number}} timing */
  async #handshake({ pingInterval, pingTimeout }) {
    const wire = this.#wire;
    this.#silenceMs = pingInterval + pingTimeout;
    this.#expectPing();
    try {
      const auth = await this.#auth();
      if (wire === this.#wire) this.#send(`40${JSON.stringify(auth)}`);
    } catch {
      // The owner knows why it had nothing to show, and has stopped us if that is final.
      if (wire === this.#wire) this.#lost({ reason: "no authentication", code: 1000 });
    }
  }

  /** @param {string} data */
  #answerPing(data) {
    this.#send(`3${data}`);
    this.#expectPing();
    this.emit("engine:ping");
  }

  #expectPing() {
    clearTimeout(this.#pingTimer);
    this.#pingTimer = setTimeout(() => this.#lost({ reason: "ping timeout", code: 1006 }), this.#silenceMs);
  }

  // --- packets --------------------------------------------------------------------------------

  /** @param {Packet} packet */
  #receivePacket({ type, namespace, id, data }) {
    if (namespace !== "/") return;
    if (type === "0") return this.#joined(data);
    if (type === "1") return this.#stopped("server namespace disconnect");
    if (type === "2") return this.#dispatch(data);
    if (type === "3" && id !== null) return this.#acknowledged(id, data);
    if (type === "4") return this.#refused(data);
  }

  /** @param {{sid: string}} data */
  #joined(data) {
    clearTimeout(this.#openTimer);
    this.#connected = true;
    this.#attempt = 0;
    this.emit("connect", data);
  }

  /** @param {[string, ...any[]]} data */
  #dispatch([name, ...args]) {
    if (!OWN_EVENTS.has(name)) this.emit(name, ...args);
  }

  /** @param {{message: string, data?: any}} answer */
  #refused(answer) {
    this.#stopped("refused");
    this.emit("connect_error", answer);
  }

  /** The server said so: no return of our own accord. @param {string} reason */
  #stopped(reason) {
    this.#wanted = false;
    this.#lost({ reason, code: 1000 });
  }

  /** @param {number} id @param {any[]} data */
  #acknowledged(id, data) {
    const waiting = this.#acks.get(id);
    if (!waiting) return; // late: already timed out
    clearTimeout(waiting.timer);
    this.#acks.delete(id);
    waiting.settle(data?.[0]);
  }

  /** @param {number} id */
  #expire(id) {
    const waiting = this.#acks.get(id);
    this.#acks.delete(id);
    waiting?.fail(new Unreachable("timeout", "The hub did not answer in time."));
  }

  // --- the end of a connection ----------------------------------------------------------------

  /** @param {{reason: string, code: number}} why */
  #lost(why) {
    // Scheduled before listeners hear of the end, so that one of them may decide otherwise.
    if (this.#wanted) this.#dialLater();
    this.#drop(why);
  }

  #dialLater() {
    const delayMs = this.#holdOffMs + backoff(this.#attempt++, this.#random);
    this.#holdOffMs = 0;
    clearTimeout(this.#retryTimer);
    this.#retryTimer = setTimeout(() => this.#dial(), delayMs);
    this.emit("engine:waiting", { delayMs });
  }

  /** @param {{reason: string, code: number}} why */
  #drop(why) {
    clearTimeout(this.#openTimer);
    clearTimeout(this.#pingTimer);
    this.#hangUp();
    this.#failAcks();
    if (!this.#connected) return;
    this.#connected = false;
    this.emit("disconnect", why);
  }

  #hangUp() {
    const wire = this.#wire;
    this.#wire = null;
    if (!wire) return;
    wire.onmessage = null;
    wire.onclose = null;
    wire.close();
  }

  #failAcks() {
    for (const { fail, timer } of this.#acks.values()) {
      clearTimeout(timer);
      fail(new Unreachable("disconnected", "The connection was lost."));
    }
    this.#acks.clear();
  }
}

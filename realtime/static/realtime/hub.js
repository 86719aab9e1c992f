// @ts-check
/**
 * The hub's browser module: sign in, connect, sign every action, keep the clock, beat, renew
 * tokens and resume the feed. It shows nothing; `console.js` does.
 *
 *   const hub = new Hub();
 *   hub.on("presence_state", (members) => ...);
 *   await hub.signIn("ada", password);
 *   await hub.action("speak", { text: "hello" });
 *
 * Emits the hub's events under their wire names (each feed event exactly once, in order), and
 * "state" (a `State`), "clock" (offset in ms), "refused" {code, message, type}, and
 * "notice" {code, message} for what happens to the connection.
 */

import { Api } from "./api.js";
import { ServerClock } from "./clock.js";
import { Emitter } from "./emitter.js";
import { HubError, Refused, Unreachable } from "./errors.js";
import { FeedReader } from "./feed.js";
import { Login } from "./login.js";
import { Signer, randomNonce } from "./signing.js";
import { SocketIO } from "./socketio.js";
import { Vault } from "./vault.js";

/** @typedef {"signed out" | "connecting" | "connected" | "waiting" | "stopped"} State */
/** @typedef {{type: string, payload: string, ts: number, nonce: string, sig: string}} Envelope */

/** The hub's events that this page listens to (docs/wire.md). */
const EVENTS = [
  "heartbeat_result", "presence_state", "presence_diff", "action_update", "job_status",
  "job_error", "feed_snapshot", "build_status", "world_update", "engine_status", "agent_update",
  "security_notice",
];

/** What a close code, or a refusal of CONNECT, asks of us; any other code: come back. */
/** @type {Record<string, "stop" | "renew" | "return">} */
const CODE_ANSWERS = {
  4400: "stop", 4403: "stop", 4409: "stop", 4401: "renew",
  AUTH_REQUIRED: "renew", AUTH_INVALID: "renew", AUTH_EXPIRED: "renew", FORBIDDEN: "stop",
};
const SERVER_DISCONNECT = "server namespace disconnect"; // without a goodbye: stay away
const REFUSED_WAIT_MS = 15_000; // a refusal that may be retried, when it names no time

/** @param {string} origin @param {() => Promise<object>} auth @returns {SocketIO} */
function openSocket(origin, auth) {
  const address = new URL("/socket.io/?EIO=4&transport=websocket", origin);
  address.protocol = address.protocol.replace("http", "ws");
  return new SocketIO({ url: address.href, auth });
}

export class Hub extends Emitter {
  clock = new ServerClock();
  /** @type {any} the `session` event of the live socket */
  session = null;
  /** @type {Envelope | null} the last one accepted on the live socket */
  lastEnvelope = null;
  /** @type {State} */
  state = "signed out";
  /** @type {Login | null} */
  #login = null;
  /** @type {Signer | null} */
  #signer = null;
  #clientNonce = "";
  /** Renewals since the last `session`: a second in a row would turn in circles. */
  #renewals = 0;
  /** @type {{code: number, retry_after_ms?: number} | null} */
  #goodbye = null;
  #feed;
  /** @type {any} */
  #heartbeatTimer;
  /** @type {any} */
  #renewalTimer;

  /** @param {{origin?: string, vault?: Vault, open?: typeof openSocket}} [options] */
  constructor({ origin = location.origin, vault = new Vault(), open = openSocket } = {}) {
    super();
    this.vault = vault;
    this.api = new Api(origin, this.clock);
    this.socket = open(origin, () => this.#connectAuth());
    this.#feed = new FeedReader({
      ask: (position) => this.socket.call("feed", position),
      deliver: (name, data) => this.emit(name, data),
      startOver: () => this.socket.reopen({ afterMs: 0 }),
    });
    this.#listen();
  }

  /** @returns {string} who is signed in; empty when nobody is */
  get username() {
    return this.#login?.username ?? "";
  }

  /** @returns {string} id of the stored login, for `resume` after a reload */
  get loginId() {
    return this.#login?.id ?? "";
  }

  // --- people ---------------------------------------------------------------------------------

  /**
   * @param {string} username
   * @param {string} password
   * @throws {HubError}
   */
  async signIn(username, password) {
    this.#begin(await Login.begin(this, { username, password }));
  }

  /**
   * Take up a login that this browser has stored.
   * @param {string} id
   * @returns {Promise<boolean>} false when there is none
   */
  async resume(id) {
    const login = await Login.stored(this, id);
    if (login) this.#begin(login);
    return login !== null;
  }

  /** End the login everywhere. @throws {HubError} forgotten here, but the hub was not told */
  async signOut() {
    const login = this.#login;
    this.#end();
    await login?.end();
  }

  /** Try again after the hub said to stay away. */
  reconnect() {
    if (!this.#login) return;
    this.#setState("connecting");
    this.socket.reopen({ afterMs: 0 });
  }

  /** @param {Login} login */
  #begin(login) {
    this.#login = login;
    this.#feed.forget();
    this.#renewals = 0;
    this.#setState("connecting");
    this.socket.open();
  }

  #end() {
    this.#login = null;
    clearTimeout(this.#renewalTimer);
    this.socket.close();
    this.#setState("signed out");
  }

  // --- actions --------------------------------------------------------------------------------

  /**
   * Sign and send. If the hub finds our clock wrong it says the time, and the action goes out
   * once more with a new signature.
   * @param {string} type
   * @param {any} [payload] anything JSON
   * @returns {Promise<any>} the hub's ack
   * @throws {Refused | Unreachable}
   */
  async action(type, payload = null) {
    try {
      return await this.send(await this.envelope(type, payload));
    } catch (error) {
      if (!(error instanceof Refused && error.code === "timestamp_expired")) throw error;
      return this.send(await this.envelope(type, payload));
    }
  }

  /**
   * @param {string} type
   * @param {any} payload
   * @param {{ts?: number}} [options] `ts` other than now is for trying the hub's patience
   * @returns {Promise<Envelope>}
   * @throws {Unreachable} there is no session to sign for
   */
  async envelope(type, payload, { ts = this.clock.now() } = {}) {
    if (!this.#signer) throw new Unreachable("disconnected", "Not connected.");
    const message = { type, payload: JSON.stringify(payload), ts, nonce: randomNonce() };
    return { ...message, sig: await this.#signer.sign(message) };
  }

  /**
   * Send an envelope as it is; refusals are also emitted as "refused".
   * @param {Envelope} envelope
   * @returns {Promise<any>} the hub's ack
   * @throws {Refused | Unreachable}
   */
  async send(envelope) {
    const sentAt = this.clock.local();
    const answer = await this.socket.call("action", envelope);
    if (answer?.error === "timestamp_expired") this.clock.forget();
    this.#sampleClock(answer?.server_time, sentAt);
    if (answer?.ok) {
      this.lastEnvelope = envelope;
      return answer;
    }
    throw this.#refuse(answer ?? {}, envelope.type);
  }

  /** @param {any} answer @param {string} [type] @returns {Refused} */
  #refuse({ error = "internal_error", message = "", ...facts }, type = "") {
    this.emit("refused", { code: error, message, type });
    return new Refused(error, message, facts);
  }

  /**
   * @param {string} path as the hub named it, such as a build's `artifact_url`
   * @returns {Promise<Response>}
   * @throws {HubError}
   */
  async get(path) {
    await this.#renewIfDue();
    if (!this.#login) throw new Refused("signed_out", "Sign in first.");
    return this.api.get(path, await this.#login.accessToken());
  }

  // --- connection -----------------------------------------------------------------------------

  #listen() {
    const { socket } = this;
    socket.on("session", (session) => this.#receiveSession(session));
    socket.on("connect_error", (answer) => this.#receiveRefusal(answer));
    socket.on("disconnect", (why) => this.#receiveDisconnect(why));
    socket.on("engine:waiting", () => this.#setState("waiting"));
    socket.on("engine:ping", () => this.#beat());
    socket.on("goodbye", (goodbye) => this.#receiveGoodbye(goodbye));
    socket.on("action_error", (answer) => this.#refuse(answer));
    socket.on("auth_expiring", () => this.#renewIfDue());
    for (const name of EVENTS) socket.on(name, (data) => this.#feed.receive(name, data));
    globalThis.addEventListener?.("online", () => this.state === "waiting" && this.reconnect());
  }

  /** @returns {Promise<object>} the CONNECT payload */
  async #connectAuth() {
    try {
      const token = await this.#login?.accessToken();
      this.#clientNonce = randomNonce();
      return { token, client_nonce: this.#clientNonce, feed: this.#feed.position };
    } catch (error) {
      this.#renewalFailed(error);
      throw error;
    }
  }

  /** @param {any} session */
  async #receiveSession(session) {
    const { server_nonce: serverNonce, namespace, principal, sid } = session;
    this.session = session;
    this.#goodbye = null;
    this.#renewals = 0;
    this.#feed.begin(session.feed ?? { epoch: "", recovered: false });
    if (!this.#login) return;
    const identity = { serverNonce, clientNonce: this.#clientNonce, namespace, principal, sid };
    const signer = await Signer.forSocket(this.#login.key, { ...identity, direction: "c2s" });
    if (this.session === session) this.#connected(signer);
  }

  /** @param {Signer} signer */
  #connected(signer) {
    this.#signer = signer;
    this.#heartbeatTimer = setInterval(() => this.#beat(), this.session.heartbeat.interval_ms);
    this.#planRenewal();
    this.#setState("connected");
    this.#beat();
  }

  /** @param {{reason: string, code: number}} why */
  #receiveDisconnect(why) {
    clearInterval(this.#heartbeatTimer);
    this.#signer = null;
    this.session = null;
    this.lastEnvelope = null;
    const code = this.#goodbye?.code ?? why.code;
    this.#goodbye = null;
    if (this.#login) this.#obey(code, why.reason === SERVER_DISCONNECT ? "stop" : "return");
  }

  /** @param {{code: number, reason: string, retry_after_ms?: number}} goodbye */
  #receiveGoodbye(goodbye) {
    this.#goodbye = goodbye;
    this.socket.holdOff(goodbye.retry_after_ms ?? 0);
    this.emit("notice", { code: `goodbye_${goodbye.code}`, message: goodbye.reason });
  }

  /** @param {{message: string, data?: any}} answer to CONNECT */
  #receiveRefusal({ message: code, data = {} }) {
    this.emit("notice", { code, message: data.detail?.message ?? data.message ?? "" });
    if (CODE_ANSWERS[code] || !data.retry) return this.#obey(code, "stop");
    this.#setState("waiting");
    const named = data.retry_after_ms ?? data.detail?.retry_after_ms;
    this.socket.reopen({ afterMs: named ?? REFUSED_WAIT_MS });
  }

  /** @param {number | string} code @param {"stop" | "return"} [otherwise] */
  #obey(code, otherwise = "return") {
    const answer = CODE_ANSWERS[code] ?? otherwise;
    if (answer === "stop") this.#stop();
    if (answer === "renew") this.#renewAndReturn();
    if (answer === "return") this.#await();
  }

  #await() {
    this.#setState("waiting");
    if (!this.socket.trying) this.socket.reopen({ afterMs: REFUSED_WAIT_MS });
  }

  #stop() {
    this.socket.close();
    this.#setState("stopped");
  }

  async #renewAndReturn() {
    this.#setState("waiting");
    this.socket.close();
    if (this.#renewals++ > 0) return this.#forgetLogin("The hub does not accept this login.");
    const renewed = await this.#renew();
    if (!renewed) this.#renewals = 0; // nobody judged it: the hub was away
    if (this.#login) this.socket.reopen({ afterMs: renewed ? 0 : REFUSED_WAIT_MS });
  }

  // --- tokens ---------------------------------------------------------------------------------

  #planRenewal() {
    clearTimeout(this.#renewalTimer);
    const dueMs = this.#login?.renewalDueMs ?? 0;
    this.#renewalTimer = setTimeout(() => this.#renewIfDue(), dueMs);
  }

  async #renewIfDue() {
    if (!this.#login) return;
    if (this.#login.renewalDueMs > 0) return this.#planRenewal();
    if (await this.#renew()) await this.#reauth();
  }

  /** @returns {Promise<boolean>} whether there is a fresh token now */
  async #renew() {
    try {
      await this.#login?.renew();
      this.#planRenewal();
      return this.#login !== null;
    } catch (error) {
      this.#renewalFailed(error);
      return false;
    }
  }

  /** @param {any} error */
  #renewalFailed(error) {
    if (error.facts?.status === 401) return this.#forgetLogin("This login has ended. Sign in again.");
    clearTimeout(this.#renewalTimer);
    const waitMs = error.retryAfterMs || REFUSED_WAIT_MS;
    this.#renewalTimer = setTimeout(() => this.#renewIfDue(), waitMs);
    this.emit("notice", { code: error.code ?? "internal_error", message: error.message });
  }

  /** @param {string} message */
  #forgetLogin(message) {
    const login = this.#login;
    this.#end();
    this.emit("notice", { code: "signed_out", message });
    login?.forget();
  }

  async #reauth() {
    if (!this.socket.connected || !this.#login) return;
    try {
      const answer = await this.socket.call("reauth", { token: await this.#login.accessToken() });
      if (!answer?.ok) this.#refuse(answer ?? {}, "reauth");
    } catch (error) {
      if (!(error instanceof Unreachable)) throw error; // the next CONNECT brings the new token
    }
  }

  // --- clock and heartbeat -----------------------------------------------------------------

  async #beat() {
    if (!this.socket.connected || !this.session) return;
    const sentAt = this.clock.local();
    try {
      const answer = await this.socket.call("heartbeat", { ts: this.clock.now() });
      this.#sampleClock(answer?.server_time, sentAt);
    } catch (error) {
      if (!(error instanceof Unreachable)) throw error; // a lost beat: the hub counts, we go on
    }
  }

  /** @param {number} serverTime @param {number} sentAt */
  #sampleClock(serverTime, sentAt) {
    this.clock.sample(serverTime, sentAt);
    this.emit("clock", this.clock.offset);
  }

  /** @param {State} state */
  #setState(state) {
    this.state = state;
    this.emit("state", state);
  }
}

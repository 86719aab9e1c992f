// A person on the stock JavaScript client: signs in, connects over WebSocket, signs with WebCrypto.

import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const { HUB_URL, SOCKET_IO_CLIENT, SIGNING_MODULE } = process.env;
const { io } = createRequire(import.meta.url)(SOCKET_IO_CLIENT);
const { Signer, importSecret, randomNonce } = await import(pathToFileURL(SIGNING_MODULE));

const PATIENCE_MS = 30_000;

/** @returns {Promise<any>} the login of `/api/token/` */
export async function signIn(username, password) {
  const response = await fetch(`${HUB_URL}/api/token/`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ username, password }),
  });
  if (!response.ok) throw new Error(`sign in: ${response.status} ${await response.text()}`);
  return response.json();
}

/** One connected socket. Every event is kept, in order, in `heard`. */
export class Person {
  heard = [];
  #login;
  #signer;

  constructor(login, transports = ["websocket"], options = {}) {
    this.#login = login;
    const clientNonce = randomNonce();
    this.socket = io(HUB_URL, {
      transports, reconnection: false, forceNew: true,
      auth: (answer) => answer({ token: login.access, client_nonce: clientNonce }),
      ...options,
    });
    this.socket.onAny((event, ...args) => this.heard.push({ event, args }));
    this.ready = this.#join(clientNonce);
  }

  async #join(clientNonce) {
    const session = await this.next("session");
    const { server_nonce: serverNonce, namespace, principal, sid } = session;
    if (sid !== this.socket.id) throw new Error(`session names ${sid}, not ${this.socket.id}`);
    const identity = { serverNonce, clientNonce, namespace, principal, sid, direction: "c2s" };
    this.#signer = await Signer.forSocket(await importSecret(this.#login.session_secret), identity);
    return session;
  }

  /** Resolves with the first argument of the next event of that name. */
  next(event) {
    return new Promise((resolve, reject) => {
      const late = () => reject(new Error(`no ${event} in time; heard ${this.names()}`));
      const timer = setTimeout(late, PATIENCE_MS);
      const done = (settle) => (value) => (clearTimeout(timer), settle(value));
      this.socket.once(event, done(resolve));
      this.socket.once("connect_error", done(reject));
    });
  }

  /** @returns {Promise<any>} the envelope of an action */
  async sign(type, payload) {
    const message = { type, payload: JSON.stringify(payload), ts: Date.now(), nonce: randomNonce() };
    return { ...message, sig: await this.#signer.sign(message) };
  }

  /** @returns {Promise<any>} the acknowledgement */
  send(envelope) {
    return new Promise((resolve) => this.socket.emit("action", envelope, resolve));
  }

  async act(type, payload) {
    return this.send(await this.sign(type, payload));
  }

  names() {
    return this.heard.map(({ event }) => event);
  }

  all(event) {
    return this.heard.filter((each) => each.event === event).map(({ args }) => args[0]);
  }
}

/** Print one JSON object, all there is on standard output. */
export function report(facts) {
  process.stdout.write(JSON.stringify(facts));
  process.exit(0);
}

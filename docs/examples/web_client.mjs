// A person on the stock client: sign in, connect, act, be refused a replay, read the feed, leave.
//
//   npm install socket.io-client
//   HUB_URL=http://127.0.0.1:8000 HUB_USER=ada HUB_PASSWORD=... node web_client.mjs
//
// Node 20 or a browser: both have fetch and WebCrypto.

import { io } from "socket.io-client";

const { HUB_URL, HUB_USER, HUB_PASSWORD } = process.env;

// -- bytes and text

const utf8 = (text) => new TextEncoder().encode(text);
const fromBase64url = (text) =>
  Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (each) => each.charCodeAt(0));
const toBase64url = (bytes) =>
  btoa(String.fromCharCode(...bytes)).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
const random = (length) => crypto.getRandomValues(new Uint8Array(length));
const hex = (bytes) => [...bytes].map((each) => each.toString(16).padStart(2, "0")).join("");

function join(...arrays) {
  const all = new Uint8Array(arrays.reduce((sum, each) => sum + each.length, 0));
  arrays.reduce((at, each) => (all.set(each, at), at + each.length), 0);
  return all;
}

/** Each part behind its length in bytes, as four bytes, big-endian. */
function enc(...parts) {
  return join(...parts.flatMap((part) => {
    const bytes = utf8(String(part));
    const length = new Uint8Array(4);
    new DataView(length.buffer).setUint32(0, bytes.length);
    return [length, bytes];
  }));
}

// -- 1. a login: tokens, and the secret that never travels again

async function signIn(username, password) {
  const answer = await fetch(`${HUB_URL}/api/token/`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ username, password }),
  });
  const body = await answer.json();
  if (!answer.ok) throw new Error(`${body.code}: ${body.message}`);
  return body;
}

// -- 2. and 3. connect, then make this socket's key of what `session` says

async function connect(login) {
  const clientNonce = random(32);
  const socket = io(HUB_URL, {
    transports: ["websocket"],
    auth: { token: login.access, client_nonce: toBase64url(clientNonce) },
    reconnection: false, // a new connection needs a fresh token, a new nonce and a new key
  });
  const session = await new Promise((resolve, reject) => {
    socket.on("session", resolve);
    socket.on("connect_error", (error) => reject(new Error(error.message)));
  });
  const secret = await crypto.subtle.importKey(
    "raw", fromBase64url(login.session_secret), "HKDF", false, ["deriveKey"],
  );
  const { namespace, principal, sid } = session;
  const key = await crypto.subtle.deriveKey(
    {
      name: "HKDF",
      hash: "SHA-256",
      salt: join(fromBase64url(session.server_nonce), clientNonce),
      info: enc("hub/v1/socket", namespace, principal, sid, "c2s"),
    },
    secret,
    { name: "HMAC", hash: "SHA-256", length: 256 }, // 256: the default would be 512 bits
    false,
    ["sign"],
  );
  return { socket, session, key, offset: session.server_time - Date.now() };
}

// -- 4. and 5. sign the text that is sent, and send it

async function sign({ session, key, offset }, type, payload) {
  const { namespace, principal, sid } = session;
  const message = {
    type,
    payload: JSON.stringify(payload),
    ts: Date.now() + offset,
    nonce: toBase64url(random(18)),
  };
  const input = join(
    utf8("HUB1"),
    enc("c2s", namespace, type, principal, sid, message.ts, message.nonce, message.payload),
  );
  const sig = hex(new Uint8Array(await crypto.subtle.sign("HMAC", key, input)));
  return { ...message, sig };
}

const send = ({ socket }, envelope) => socket.timeout(10_000).emitWithAck("action", envelope);

// -- the tour

const login = await signIn(HUB_USER, HUB_PASSWORD);
const hub = await connect(login);
const { interval_ms: interval } = hub.session.heartbeat;
const beat = setInterval(() => hub.socket.volatile.emit("heartbeat", { ts: Date.now() }), interval);
hub.socket.on("action_update", (update) => console.error(update.username, update.type));
hub.socket.on("goodbye", ({ code, reason }) => console.error("goodbye", code, reason));

const envelope = await sign(hub, "click", { x: 3, y: 4 });
const accepted = await send(hub, envelope);
const replayed = await send(hub, envelope);
const feed = await hub.socket.timeout(10_000).emitWithAck("feed", { after: 0 });

clearInterval(beat);
hub.socket.disconnect();
console.log(JSON.stringify({ session: hub.session, accepted, replayed, feed }));

import assert from "node:assert/strict";
import { createHmac, hkdfSync } from "node:crypto";
import { beforeEach, mock, test } from "node:test";
import { load, settle } from "./modules.mjs";

const { Hub } = await load("hub.js");
const { Emitter } = await load("emitter.js");
const { encodeFields, fromBase64url } = await load("signing.js");

const SECRET = "CmZh0B5IdQG_mFEQkJkfksy1rLn3J7jbkJJwtH9AvxE";
const SERVER_NONCE = "ecQSH8YIV9_-_HS5mcyF8ZCsRsi833KOcP5szoYeM-Y";
const START = 1_795_000_000_000;
const AHEAD = 5_000; // the hub's clock before ours

/** The transport as the hub module sees it; tests answer for the server. */
class FakeSocket extends Emitter {
  connected = false;
  trying = false;
  calls = [];
  reopened = [];
  heldOff = 0;
  answers = { heartbeat: () => ({ ok: true, server_time: Date.now() + AHEAD }), reauth: () => ({ ok: true }) };

  open() {
    this.trying = true;
  }

  close() {
    this.trying = this.connected = false;
  }

  reopen({ afterMs }) {
    this.trying = true;
    this.connected = false;
    this.reopened.push(afterMs);
  }

  holdOff(delayMs) {
    this.heldOff = delayMs;
  }

  async call(name, data) {
    this.calls.push([name, data]);
    return this.answers[name](data, this.calls.filter(([called]) => called === name).length);
  }

  sent(name) {
    return this.calls.filter(([called]) => called === name).map(([, data]) => data);
  }
}

/** The vault without IndexedDB. */
class FakeVault {
  records = new Map();
  load = async (id) => this.records.get(id);
  all = async () => [...this.records.values()];
  save = async (login) => void this.records.set(login.id, login);
  forget = async (id) => void this.records.delete(id);
}

let hub, socket, vault, auth, asked, refresh, heard;

function tokens(n) {
  const now = Date.now() + AHEAD;
  return { access: `access-${n}`, refresh: `refresh-${n}`, access_expires_at: now + 300_000, server_time: now };
}

const json = (body, status = 200) => new Response(status === 204 ? null : JSON.stringify(body), { status });

async function fakeFetch(url, { body, headers }) {
  const path = new URL(url).pathname;
  asked.push([path, body ? JSON.parse(body) : headers.Authorization]);
  if (path === "/api/token/") return json({ ...tokens(0), session_secret: SECRET });
  if (path === "/api/token/refresh/") return refresh(asked.filter(([p]) => p === path).length);
  return path === "/api/token/revoke/" ? json(null, 204) : json({ path });
}

beforeEach(() => {
  mock.timers.reset();
  mock.timers.enable({ apis: ["setTimeout", "setInterval", "Date"], now: START });
  asked = [];
  heard = [];
  refresh = (n) => json(tokens(n));
  globalThis.fetch = fakeFetch;
  vault = new FakeVault();
  const open = (_, connectAuth) => {
    auth = connectAuth;
    return (socket = new FakeSocket());
  };
  hub = new Hub({ origin: "https://hub.example", vault, open });
  for (const name of ["state", "refused", "notice"]) hub.on(name, (data) => heard.push([name, data]));
});

async function connect() {
  await hub.signIn("ada", "pw");
  return session();
}

async function session() {
  const connectAuth = await auth();
  socket.connected = true;
  socket.emit("session", {
    sid: "sid1", principal: "user:42", namespace: "/", server_nonce: SERVER_NONCE,
    heartbeat: { interval_ms: 10_000 }, server_time: Date.now() + AHEAD,
    feed: { epoch: "e", head: 0, recovered: false },
  });
  // WebCrypto works in threads of its own, which take their time on a busy machine.
  const start = performance.now();
  while (hub.state !== "connected" && performance.now() - start < 10_000) await settle();
  await settle();
  return connectAuth;
}

function drop(reason = "transport close", code = 1006) {
  socket.connected = false;
  if (reason === "server namespace disconnect") socket.trying = false;
  socket.emit("disconnect", { reason, code });
}

/** What the hub would compute: a second, independent implementation. */
function expectedSignature(clientNonce, { type, payload, ts, nonce }) {
  const salt = Buffer.concat([fromBase64url(SERVER_NONCE), fromBase64url(clientNonce)]);
  const info = encodeFields("hub/v1/socket", "/", "user:42", "sid1", "c2s");
  const key = Buffer.from(hkdfSync("sha256", fromBase64url(SECRET), salt, info, 32));
  const fields = encodeFields("c2s", "/", type, "user:42", "sid1", String(ts), nonce, payload);
  return createHmac("sha256", key).update("HUB1").update(fields).digest("hex");
}

test("signing in connects with token, fresh nonce and an empty feed position", async () => {
  const { token, client_nonce: nonce, feed } = await connect();
  assert.deepEqual([token, feed, fromBase64url(nonce).length], ["access-0", { epoch: "", after: 0 }, 32]);
  assert.deepEqual(heard, [["state", "connecting"], ["state", "connected"]]);
});

test("the secret is stored only as a key that cannot be read", async () => {
  await connect();
  const [record] = await vault.all();
  assert.equal(record.key.extractable, false);
  assert.ok(!JSON.stringify(record).includes(SECRET));
});

test("an action is signed with the socket's key, by the hub's clock, over the very text sent", async () => {
  const { client_nonce: clientNonce } = await connect();
  socket.answers.action = () => ({ ok: true, id: "1", server_time: Date.now() + AHEAD });
  assert.equal((await hub.action("speak", { text: "hé" })).id, "1");
  const [envelope] = socket.sent("action");
  assert.deepEqual(Object.keys(envelope).sort(), ["nonce", "payload", "sig", "ts", "type"]);
  assert.deepEqual([envelope.payload, envelope.ts], ['{"text":"hé"}', START + AHEAD]);
  assert.equal(envelope.sig, expectedSignature(clientNonce, envelope));
  assert.deepEqual(hub.lastEnvelope, envelope);
});

test("a refusal is an error with the hub's code, and is emitted", async () => {
  await connect();
  socket.answers.action = () => ({ ok: false, error: "rate_limited", message: "Slow down.", retry_after_ms: 70 });
  await assert.rejects(hub.action("click"), { code: "rate_limited", message: "Slow down.", retryAfterMs: 70 });
  assert.deepEqual(heard.at(-1), ["refused", { code: "rate_limited", message: "Slow down.", type: "click" }]);
  assert.equal(hub.lastEnvelope, null);
});

test("a clock that is wrong is corrected and the action sent once more, signed anew", async () => {
  await connect();
  const hours = 3_600_000;
  socket.answers.action = (_, n) => n === 1
    ? { ok: false, error: "timestamp_expired", message: "", server_time: Date.now() + hours }
    : { ok: true, server_time: Date.now() + hours };
  await hub.action("click");
  const [first, second] = socket.sent("action");
  assert.equal(second.ts, START + hours);
  assert.notEqual(second.nonce, first.nonce);
});

test("without a session there is nothing to sign for", async () => {
  await assert.rejects(hub.action("click"), { code: "disconnected" });
  await connect();
  drop();
  await assert.rejects(hub.action("click"), { code: "disconnected" });
});

test("it beats at the interval and on each ping of the transport", async () => {
  await connect();
  const before = socket.sent("heartbeat").length;
  mock.timers.tick(10_000);
  socket.emit("engine:ping");
  assert.equal(socket.sent("heartbeat").length, before + 2);
});

test("tokens are renewed before they expire, and the live socket is told", async () => {
  await connect();
  mock.timers.tick(225_000);
  await settle();
  assert.deepEqual(asked.at(-1), ["/api/token/refresh/", { refresh: "refresh-0" }]);
  assert.deepEqual(socket.sent("reauth"), [{ token: "access-1" }]);
  assert.equal((await vault.all())[0].refresh, "refresh-1");
  mock.timers.tick(225_000);
  await settle();
  assert.deepEqual(asked.at(-1), ["/api/token/refresh/", { refresh: "refresh-1" }]);
});

test("a stored login is taken up again with a new token", async () => {
  await connect();
  const id = hub.loginId;
  const again = new Hub({ origin: "https://hub.example", vault, open: (_, connectAuth) => ((auth = connectAuth), new FakeSocket()) });
  assert.equal(await again.resume("unknown"), false);
  assert.equal(await again.resume(id), true);
  assert.deepEqual([(await auth()).token, again.username], ["access-1", "ada"]);
});

test("a login that has ended is forgotten", async () => {
  await connect();
  refresh = () => json({ code: "token_invalid", message: "" }, 401);
  mock.timers.tick(225_000);
  await settle();
  assert.equal(hub.state, "signed out");
  assert.deepEqual(await vault.all(), []);
});

test("a hub that is away does not end a login", async () => {
  await connect();
  refresh = () => json({}, 503);
  mock.timers.tick(225_000);
  await settle();
  assert.equal(hub.username, "ada");
  refresh = (n) => json(tokens(n));
  mock.timers.tick(15_000);
  await settle();
  assert.equal(socket.sent("reauth").length, 1);
});

test("goodbye 1012 waits as told and comes back", async () => {
  await connect();
  socket.emit("goodbye", { code: 1012, reason: "restart", retry_after_ms: 700 });
  drop();
  assert.deepEqual([hub.state, socket.heldOff], ["waiting", 700]);
});

test("goodbye 4401 renews the token and comes back; a second time in a row ends the login", async () => {
  await connect();
  socket.emit("goodbye", { code: 4401, reason: "expired" });
  drop("server namespace disconnect", 1000);
  await settle();
  assert.deepEqual([asked.at(-1)[0], socket.reopened], ["/api/token/refresh/", [0]]);
  socket.emit("connect_error", { message: "AUTH_INVALID", data: { retry: false } });
  await settle();
  assert.equal(hub.state, "signed out");
});

for (const code of [4400, 4403, 4409]) {
  test(`goodbye ${code} stops, until somebody asks`, async () => {
    await connect();
    socket.emit("goodbye", { code, reason: "no" });
    drop("server namespace disconnect", 1000);
    assert.equal(hub.state, "stopped");
    hub.reconnect();
    assert.deepEqual([hub.state, socket.reopened], ["connecting", [0]]);
  });
}

test("a refusal of CONNECT that may be retried is, after the time it names", async () => {
  await connect();
  drop();
  socket.emit("connect_error", { message: "PENALTY", data: { retry: true, detail: { retry_after_ms: 42_000 } } });
  assert.deepEqual([hub.state, socket.reopened], ["waiting", [42_000]]);
});

test("a refusal of CONNECT that may not be retried stops", async () => {
  await connect();
  drop();
  socket.emit("connect_error", { message: "FORBIDDEN", data: { retry: false } });
  assert.equal(hub.state, "stopped");
});

test("a reconnect resumes the feed where it stood", async () => {
  await connect();
  socket.emit("feed_snapshot", { epoch: "e", head: 9, builds: [] });
  socket.emit("build_status", { seq: 10, epoch: "e", build_id: "b" });
  assert.deepEqual((await auth()).feed, { epoch: "e", after: 10 });
});

test("signing out ends the login at the hub and here", async () => {
  await connect();
  await hub.signOut();
  assert.deepEqual(asked.at(-1), ["/api/token/revoke/", { refresh: "refresh-0" }]);
  assert.deepEqual([hub.state, await vault.all()], ["signed out", []]);
});

test("artifacts are fetched with the bearer token, and from this hub only", async () => {
  await connect();
  await hub.get("/api/builds/b/artifact/");
  assert.deepEqual(asked.at(-1), ["/api/builds/b/artifact/", "Bearer access-0"]);
  await assert.rejects(hub.get("https://elsewhere.example/"), { code: "foreign_origin" });
});

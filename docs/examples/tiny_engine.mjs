// A complete engine without the SDK, on the stock client: one empty glTF node per entity.
//
//   npm install socket.io-client
//   HUB_URL=http://127.0.0.1:8000 HUB_ENGINE_SECRET=... node tiny_engine.mjs tiny-2
//
// No job here outlives its connection, so it never needs engine_resume. SIGTERM drains.

import { createHash, createHmac, hkdfSync, randomBytes, timingSafeEqual } from "node:crypto";
import { io } from "socket.io-client";

const { HUB_URL, HUB_ENGINE_SECRET } = process.env;
const secret = Buffer.from(HUB_ENGINE_SECRET, "base64url");
const name = process.argv[2];
const principal = `engine:${name}`;
let offset = 0; // the hub's clock is what counts
let stopping = false;

// -- signatures

const enc = (...parts) => Buffer.concat(parts.flatMap((part) => {
  const bytes = Buffer.from(String(part));
  const length = Buffer.alloc(4);
  length.writeUInt32BE(bytes.length);
  return [length, bytes];
}));
const mac = (key, direction, namespace, type, sid, { ts, nonce, payload }) =>
  createHmac("sha256", key)
    .update(Buffer.concat([Buffer.from("HUB1"), enc(direction, namespace, type, principal, sid, ts, nonce, payload)]))
    .digest("hex");
function sign(key, namespace, type, sid, payload) {
  const message = { payload, ts: Date.now() + offset, nonce: randomBytes(18).toString("base64url") };
  return { ...message, sig: mac(key, "c2s", namespace, type, sid, message) };
}

// -- HTTP

async function request(method, path, headers, body) {
  const answer = await fetch(HUB_URL + path, { method, headers, body });
  if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${await answer.text()}`);
  return answer.json();
}
async function token() {
  offset = (await request("GET", "/api/time/")).server_time - Date.now();
  const path = "/api/service-token/";
  const { ts, nonce, sig } = sign(secret, path, "token_request", "", "");
  const body = JSON.stringify({ kind: "engine", name, ts, nonce, sig });
  return (await request("POST", path, { "Content-Type": "application/json" }, body)).access;
}
async function upload(access, { build_id, job_id, attempt_id }, bytes) {
  const path = `/api/builds/${build_id}/artifact/`;
  const digest = createHash("sha256").update(bytes).digest("hex");
  const { ts, nonce, sig } = sign(secret, path, "artifact", "", `${job_id}:${attempt_id}:${digest}`);
  const headers = { "Hub-Job": job_id, "Hub-Attempt": attempt_id, "Hub-Ts": ts, "Hub-Nonce": nonce, "Hub-Sig": sig };
  await request("PUT", path, { Authorization: `Bearer ${access}`, ...headers }, bytes);
}

// -- the work

function glb(entities) {
  const nodes = entities.map(({ id, transform }) => ({ name: id, translation: transform.position }));
  const scene = { nodes: nodes.map((_, index) => index) };
  const json = Buffer.from(JSON.stringify({ asset: { version: "2.0" }, scene: 0, scenes: [scene], nodes }));
  const text = Buffer.concat([json, Buffer.alloc((4 - (json.length % 4)) % 4, " ")]);
  const head = Buffer.alloc(20);
  head.write("glTF");
  [2, 20 + text.length, text.length].forEach((number, index) => head.writeUInt32LE(number, 4 + 4 * index));
  head.write("JSON", 16);
  return Buffer.concat([head, text]);
}
async function work(access, job) {
  if (!job.execution_params.finish) return { done: job.job_type };
  const path = `/api/builds/${job.build_id}/spec/`;
  const world = job.world_spec ?? (await request("GET", path, { Authorization: `Bearer ${access}` }));
  await upload(access, job, glb(world.entities));
  return { nodes: world.entities.length };
}

// -- one connection, until it ends

async function serve() {
  const access = await token();
  const clientNonce = randomBytes(32);
  const auth = { token: access, client_nonce: clientNonce.toString("base64url") };
  const socket = io(`${HUB_URL}/engine`, { transports: ["websocket"], auth, reconnection: false, forceNew: true });
  const ended = new Promise((resolve) => ["disconnect", "connect_error"].forEach((event) => socket.on(event, resolve)));
  const session = await Promise.race([new Promise((resolve) => socket.on("session", resolve)), ended]);
  if (!session.server_nonce) return;

  const salt = Buffer.concat([Buffer.from(session.server_nonce, "base64url"), clientNonce]);
  const key = (direction) =>
    Buffer.from(hkdfSync("sha256", secret, salt, enc("hub/v1/socket", "/engine", principal, session.sid, direction), 32));
  const [ours, theirs, nonces] = [key("c2s"), key("s2c"), new Set()];
  const say = (event, body) => // refusals come as {ok: false}; a lost connection ends it all anyway
    socket.timeout(5_000).emitWithAck(event, sign(ours, "/engine", event, session.sid, JSON.stringify(body))).catch(() => ({}));
  const hear = (event, handler) => socket.on(event, (message) => {
    const expected = Buffer.from(mac(theirs, "s2c", "/engine", event, session.sid, message));
    const seen = Buffer.from(String(message.sig));
    const authentic = seen.length === expected.length && timingSafeEqual(seen, expected);
    if (!authentic || nonces.has(message.nonce) || Math.abs(Date.now() + offset - message.ts) > session.drift_ms) return;
    nonces.add(message.nonce);
    handler(JSON.parse(message.payload));
  });

  const live = new Map(); // attempt -> job
  async function run(job) {
    const ids = { job_id: job.job_id, attempt_id: job.attempt_id };
    if (live.has(job.attempt_id)) return; // delivered twice
    live.set(job.attempt_id, job);
    await say("job_ack", ids);
    await say("job_started", ids);
    try {
      await say("job_completed", { ...ids, result: await work(access, job) });
    } catch (error) {
      await say("job_failed", { ...ids, error: { code: "broken", message: String(error.message), retryable: true } });
    }
    live.delete(job.attempt_id);
    if (stopping && live.size === 0) socket.disconnect();
  }
  hear("engine_job", run);
  hear("job_abort", ({ attempt_id: attempt }) => live.delete(attempt)); // its report will be refused
  const beat = setInterval(() => say("engine_heartbeat", { attempts: [...live.keys()] }), session.heartbeat.interval_ms);
  process.once("SIGTERM", async () => {
    stopping = true;
    await say("engine_draining", {});
    if (live.size === 0) socket.disconnect();
  });
  await say("engine_ready", { capacity: 2, job_types: ["BUILD_SCENE", "LOAD_ASSETS", "SPAWN_ENTITY"], version: "tiny" });
  await ended;
  clearInterval(beat);
}

while (!stopping) {
  await serve().catch((error) => console.error(error.message));
  if (!stopping) await new Promise((resolve) => setTimeout(resolve, 500 + Math.random() * 1_000));
}
process.exit(0);

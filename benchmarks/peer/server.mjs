// The Node.js Socket.IO server that the hub is compared with: the same checks on the same wire,
// written as a careful Node developer would, with what its library recommends (ws, bufferutil).
// It leaves out what would only make it slower: rate buckets, strict JSON, presence, feed, records.
import { createHmac, hkdfSync, randomBytes, timingSafeEqual } from "node:crypto";
import { createServer } from "node:http";
import { Server } from "socket.io";

const { JWT_KEY, SESSION_SECRET } = process.env;
const jwtKey = Buffer.from(JWT_KEY, "base64url");
const sessionSecret = Buffer.from(SESSION_SECRET, "base64url");
const DRIFT_MS = 15_000;
const GRACE_MS = 5_000;
const LARGEST_PAYLOAD = 8 * 1024;
const CATEGORIES = { click: "pointer", inspect: "pointer", speak: "speech", room_leave: null };
const ENVELOPE_KEYS = 5;
const TYPE = /^[a-z][a-z0-9_]{0,63}$/;
const NONCE = /^[A-Za-z0-9_-]{22,64}$/;
const SIGNATURE = /^[0-9a-f]{64}$/;

// -- tokens

function verifyToken(token) {
  if (typeof token !== "string" || token.length > 4096) return null;
  const parts = token.split(".");
  if (parts.length !== 3) return null;
  const expected = createHmac("sha256", jwtKey).update(`${parts[0]}.${parts[1]}`).digest();
  const given = Buffer.from(parts[2], "base64url");
  if (given.length !== expected.length || !timingSafeEqual(given, expected)) return null;
  const header = JSON.parse(Buffer.from(parts[0], "base64url").toString());
  const claims = JSON.parse(Buffer.from(parts[1], "base64url").toString());
  const inForce = header.alg === "HS256" && claims.exp * 1000 > Date.now();
  return inForce && claims.aud === "hub:user" && claims.token_type === "access" ? claims : null;
}

// -- signatures, as docs/security.md has them

function lp(text) {
  const raw = Buffer.from(text);
  const size = Buffer.alloc(4);
  size.writeUInt32BE(raw.length);
  return Buffer.concat([size, raw]);
}

function keyOf(socketId, principal, serverNonce, clientNonce) {
  const info = Buffer.concat(["hub/v1/socket", "/", principal, socketId, "c2s"].map(lp));
  const salt = Buffer.concat([serverNonce, clientNonce]);
  return Buffer.from(hkdfSync("sha256", sessionSecret, salt, info, 32));
}

function writeField(target, at, text, size) {
  at = target.writeUInt32BE(size, at);
  return at + target.write(text, at, size, "utf8");
}

// One buffer for each message, filled in one go: several update() calls cost more than the copy.
function macInput(seat, { type, ts, nonce, payload }) {
  const time = String(ts);
  const size = Buffer.byteLength(payload);
  const { head, middle } = seat;
  const total = head.length + middle.length + 16 + type.length + time.length + nonce.length + size;
  const target = Buffer.allocUnsafe(total);
  let at = head.copy(target, 0);
  at = writeField(target, at, type, type.length);
  at += middle.copy(target, at);
  at = writeField(target, at, time, time.length);
  at = writeField(target, at, nonce, nonce.length);
  writeField(target, at, payload, size);
  return target;
}

// -- nonces, forgotten a second at a time

const live = new Map();

function consume(principal, nonce, expires) {
  const key = `${principal}:${nonce}`;
  if (live.has(key)) return false;
  live.set(key, expires);
  return true;
}

setInterval(() => {
  const now = Date.now();
  for (const [key, expires] of live) {
    if (expires > now) break;
    live.delete(key);
  }
}, 1000).unref();

// -- actions

function refusalOf(seat, message, now) {
  if (message === null || typeof message !== "object" || Array.isArray(message)) return "malformed";
  const { type, payload, ts, nonce, sig } = message;
  if (Object.keys(message).length !== ENVELOPE_KEYS) return "malformed";
  if (typeof type !== "string" || !TYPE.test(type)) return "malformed";
  if (typeof nonce !== "string" || !NONCE.test(nonce)) return "malformed";
  if (typeof sig !== "string" || !SIGNATURE.test(sig)) return "malformed";
  if (typeof payload !== "string" || !Number.isSafeInteger(ts) || ts < 0) return "malformed";
  if (!Object.hasOwn(CATEGORIES, type)) return "unknown_type";
  if (Buffer.byteLength(payload) > LARGEST_PAYLOAD) return "payload_too_large";
  if (!(Math.abs(now - ts) <= DRIFT_MS)) return "timestamp_expired";
  const expected = createHmac("sha256", seat.key).update(macInput(seat, message)).digest();
  if (!timingSafeEqual(expected, Buffer.from(sig, "hex"))) return "invalid_signature";
  if (!consume(seat.principal, nonce, ts + DRIFT_MS + GRACE_MS)) return "replay_detected";
  return null;
}

function tell(socket, seat, message, { id, category, payload, now }) {
  const rooms = [...socket.rooms].filter((room) => room !== socket.id);
  if (rooms.length === 0) return;
  socket.to(rooms).emit("action_update", {
    id,
    user_id: seat.userId,
    username: seat.username,
    sid: socket.id,
    room: rooms[0],
    type: message.type,
    category,
    payload,
    client_ts: message.ts,
    server_time: now,
  });
}

function act(socket, seat, message, answer) {
  const now = Date.now();
  const error = refusalOf(seat, message, now);
  if (error !== null) {
    answer({ ok: false, error, server_time: now });
    return;
  }
  let payload;
  try {
    payload = JSON.parse(message.payload);
  } catch {
    answer({ ok: false, error: "payload_invalid", server_time: now });
    return;
  }
  const id = `act_${randomBytes(12).toString("base64url")}`;
  const category = CATEGORIES[message.type];
  if (category === null) socket.leave(payload.room);
  else tell(socket, seat, message, { id, category, payload, now });
  answer({ ok: true, id, server_time: now });
}

// -- the server

const http = createServer();
const io = new Server(http, { serveClient: false, transports: ["websocket"] });

io.use((socket, next) => {
  const { token, client_nonce: clientNonce } = socket.handshake.auth;
  const claims = verifyToken(token);
  const nonce = typeof clientNonce === "string" ? Buffer.from(clientNonce, "base64url") : null;
  if (claims === null || nonce === null || nonce.length !== 32) {
    next(new Error("AUTH_INVALID"));
    return;
  }
  const principal = `user:${claims.sub}`;
  const serverNonce = randomBytes(32);
  socket.data.serverNonce = serverNonce;
  socket.data.seat = {
    principal,
    userId: claims.sub,
    username: claims.username ?? "somebody",
    key: keyOf(socket.id, principal, serverNonce, nonce),
    head: Buffer.concat([Buffer.from("HUB1"), lp("c2s"), lp("/")]),
    middle: Buffer.concat([lp(principal), lp(socket.id)]),
  };
  next();
});

io.on("connection", (socket) => {
  const { seat, serverNonce } = socket.data;
  socket.join("lobby");
  socket.on("action", (message, answer) => act(socket, seat, message, answer));
  socket.on("heartbeat", (_body, answer) => answer?.({ ok: true, server_time: Date.now() }));
  socket.emit("session", {
    sid: socket.id,
    principal: seat.principal,
    server_nonce: serverNonce.toString("base64url"),
    drift_ms: DRIFT_MS,
    server_time: Date.now(),
  });
});

process.on("SIGTERM", () => process.exit(0));
http.listen(0, "127.0.0.1", () => console.log(`listening http://127.0.0.1:${http.address().port}/`));

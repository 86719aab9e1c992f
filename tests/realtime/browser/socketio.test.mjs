import assert from "node:assert/strict";
import { beforeEach, mock, test } from "node:test";
import { FakeWire, load, settle } from "./modules.mjs";

const { SocketIO, backoff, decodePacket } = await load("socketio.js");
const OPEN = '0{"sid":"engine","pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000,"upgrades":[]}';
let socket;
let heard;

async function dial({ auth = async () => ({ token: "t" }) } = {}) {
  socket = new SocketIO({ url: "ws://hub/", auth, Wire: FakeWire, random: () => 0.5 });
  heard = [];
  for (const name of ["connect", "connect_error", "disconnect", "engine:ping", "engine:waiting", "greeting"]) {
    socket.on(name, (data) => heard.push([name, data]));
  }
  socket.open();
  mock.timers.tick(0);
  FakeWire.last.say(OPEN);
  await settle();
}

async function connect() {
  await dial();
  FakeWire.last.say('40{"sid":"abc"}');
}

beforeEach(() => {
  mock.timers.reset();
  mock.timers.enable({ apis: ["setTimeout"] });
  FakeWire.made = 0;
});

test("it joins the namespace with what auth gives", async () => {
  await connect();
  assert.deepEqual(FakeWire.last.sent, ['40{"token":"t"}']);
  assert.deepEqual(heard, [["connect", { sid: "abc" }]]);
  assert.equal(socket.connected, true);
});

test("an event reaches its listener, and none can pose as the client's own", async () => {
  await connect();
  FakeWire.last.say('42["greeting",{"n":1}]');
  FakeWire.last.say('42["engine:ping"]');
  assert.deepEqual(heard.slice(1), [["greeting", { n: 1 }]]);
});

test("a call is answered by the ack of its id, and by no other", async () => {
  await connect();
  const answer = socket.call("ask", { q: 1 });
  assert.equal(FakeWire.last.sent.at(-1), '420["ask",{"q":1}]');
  FakeWire.last.say('437[{"wrong":true}]');
  FakeWire.last.say('430[{"ok":true}]');
  assert.deepEqual(await answer, { ok: true });
});

test("a call without an answer fails as a timeout", async () => {
  await connect();
  const answer = socket.call("ask", null, { timeoutMs: 100 });
  mock.timers.tick(100);
  await assert.rejects(answer, { code: "timeout" });
});

test("a call fails at once when the connection is lost, and when there is none", async () => {
  await connect();
  const answer = socket.call("ask", null);
  FakeWire.last.drop();
  await assert.rejects(answer, { code: "disconnected" });
  await assert.rejects(socket.call("ask", null), { code: "disconnected" });
});

test("a ping is answered with its own data", async () => {
  await connect();
  FakeWire.last.say("2");
  FakeWire.last.say("2probe");
  assert.deepEqual(FakeWire.last.sent.slice(-2), ["3", "3probe"]);
  assert.equal(heard.filter(([name]) => name === "engine:ping").length, 2);
});

test("missed pings for interval and timeout together end the connection, and a new one is dialled", async () => {
  await connect();
  mock.timers.tick(44_999);
  assert.equal(socket.connected, true);
  mock.timers.tick(1);
  assert.deepEqual(heard.at(-2), ["engine:waiting", { delayMs: 1000 }]);
  assert.deepEqual(heard.at(-1), ["disconnect", { reason: "ping timeout", code: 1006 }]);
  mock.timers.tick(1000);
  assert.equal(FakeWire.made, 2);
});

test("a lost connection is dialled again, later each time", async () => {
  await connect();
  const delays = [];
  socket.on("engine:waiting", ({ delayMs }) => delays.push(delayMs));
  for (let attempt = 0; attempt < 4; attempt++) {
    FakeWire.last.drop();
    mock.timers.tick(delays.at(-1));
  }
  assert.deepEqual(delays, [1000, 2000, 4000, 5000]);
});

test("hold-off is added to the next delay alone", async () => {
  await connect();
  socket.holdOff(30_000);
  FakeWire.last.drop();
  mock.timers.tick(31_000);
  FakeWire.last.drop();
  const waits = heard.filter(([name]) => name === "engine:waiting").map(([, { delayMs }]) => delayMs);
  assert.deepEqual(waits, [31_000, 2000]);
});

test("a refusal of CONNECT is told and not dialled again", async () => {
  await dial();
  FakeWire.last.say('44{"message":"AUTH_INVALID","data":{"retry":false}}');
  assert.deepEqual(heard, [["connect_error", { message: "AUTH_INVALID", data: { retry: false } }]]);
  mock.timers.tick(60_000);
  assert.equal(FakeWire.made, 1);
  assert.equal(socket.trying, false);
});

test("a DISCONNECT of the server is told and not dialled again", async () => {
  await connect();
  FakeWire.last.say("41");
  assert.deepEqual(heard.at(-1), ["disconnect", { reason: "server namespace disconnect", code: 1000 }]);
  mock.timers.tick(60_000);
  assert.equal(FakeWire.made, 1);
});

test("a listener of disconnect may dial anew without a second connection beside it", async () => {
  await connect();
  socket.on("disconnect", () => socket.reopen({ afterMs: 50 }));
  FakeWire.last.drop();
  mock.timers.tick(10_000); // longer than any backoff, shorter than the time to open
  assert.equal(FakeWire.made, 2);
});

test("close says goodbye and stays away", async () => {
  await connect();
  const wire = FakeWire.last;
  socket.close();
  assert.equal(wire.sent.at(-1), "41");
  assert.equal(wire.readyState, 3);
  mock.timers.tick(60_000);
  assert.equal(FakeWire.made, 1);
});

test("a handshake that never ends is given up after 20 s", async () => {
  await dial();
  mock.timers.tick(20_000);
  assert.equal(heard.at(-1)[0], "engine:waiting");
});

test("frames that are no packets end the connection instead of raising", async () => {
  for (const frame of ["4", "4x", "42{broken", new ArrayBuffer(2)]) {
    await connect();
    FakeWire.last.say(frame);
    assert.equal(socket.connected, false, String(frame));
  }
});

test("without authentication nothing is sent, and it is tried again", async () => {
  await dial({ auth: async () => Promise.reject(new Error("no token")) });
  assert.deepEqual(FakeWire.last.sent, []);
  assert.equal(heard.at(-1)[0], "engine:waiting");
});

test("packets decode with and without namespace, id and data", () => {
  assert.deepEqual(decodePacket('2["a"]'), { type: "2", namespace: "/", id: null, data: ["a"] });
  assert.deepEqual(decodePacket('2/x,12["a"]'), { type: "2", namespace: "/x", id: 12, data: ["a"] });
  assert.deepEqual(decodePacket("0/x"), { type: "0", namespace: "/x", id: null, data: undefined });
  assert.deepEqual(decodePacket("30[]"), { type: "3", namespace: "/", id: 0, data: [] });
});

test("backoff stays within half and one and a half of its step", () => {
  assert.equal(backoff(0, () => 0), 500);
  assert.equal(backoff(0, () => 0.999_999), 1500);
  assert.equal(backoff(1_000, () => 0.5), 5000);
});

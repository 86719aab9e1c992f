// What a user of socket.io-client does, through one transport; prints {scenario: null or the error}.
import { strict as assert } from "node:assert";
import { createRequire } from "node:module";
import { performance } from "node:perf_hooks";

const { io } = createRequire(import.meta.url)(process.env.SOCKET_IO_CLIENT);
const { ECHO_URL, MODE, NEW_CLIENT } = process.env;
const WITHIN_MS = 8_000;
const MODES = {
  polling: { transports: ["polling"] },
  upgrade: {},
  websocket: { transports: ["websocket"] },
};

const open = [];

function connect(namespace = "/", options = {}) {
  const settings = { forceNew: true, reconnectionDelay: 20, ...MODES[MODE], ...options };
  const socket = io(ECHO_URL + namespace, settings);
  open.push(socket);
  return socket;
}

function once(emitter, event) {
  return new Promise((resolve, reject) => {
    const late = setTimeout(() => reject(new Error(`no ${event}`)), WITHIN_MS);
    emitter.once(event, (...args) => {
      clearTimeout(late);
      resolve(args);
    });
  });
}

async function connected(...args) {
  const socket = connect(...args);
  await once(socket, "connect");
  return socket;
}

function backs(socket, count) {
  return new Promise((resolve, reject) => {
    const heard = [];
    const late = setTimeout(() => reject(new Error(`only ${heard.length} of ${count}`)), WITHIN_MS);
    socket.on("message-back", (value) => {
      if (heard.push(value) === count) {
        clearTimeout(late);
        resolve(heard);
      }
    });
  });
}

function ask(socket, ...args) {
  return new Promise((resolve, reject) => {
    const late = setTimeout(() => reject(new Error("no acknowledgement")), WITHIN_MS);
    socket.emit("message-with-ack", ...args, (...answer) => {
      clearTimeout(late);
      resolve(answer);
    });
  });
}

async function upgraded(socket) {
  if (MODE === "upgrade" && socket.io.engine.transport.name !== "websocket") {
    await once(socket.io.engine, "upgrade");
  }
}

const scenarios = {
  async "an auth object arrives"() {
    const socket = connect("/", { auth: { token: "abc" } });
    assert.deepEqual(await once(socket, "auth"), [{ token: "abc" }]);
  },

  async "an auth callback is asked at each connection, and may take its time"() {
    let count = 0;
    const auth = (answer) => setTimeout(() => answer({ count: ++count }), 50);
    const socket = connect("/custom", { auth });
    assert.deepEqual(await once(socket, "auth"), [{ count: 1 }]);
    socket.disconnect().connect();
    assert.deepEqual(await once(socket, "auth"), [{ count: 2 }]);
  },

  async "acknowledgements come back"() {
    const socket = await connected();
    assert.deepEqual(await ask(socket, 1, "2", { 3: [true] }), [1, "2", { 3: [true] }]);
    assert.deepEqual(await ask(socket), []);
  },

  async "binary goes both ways, at any depth"() {
    const socket = await connected();
    const bytes = Buffer.from([0, 1, 30, 255]);
    const [answer] = await ask(socket, { deep: [bytes, "text", bytes] });
    assert.deepEqual(Buffer.from(answer.deep[0]), bytes);
    assert.deepEqual(Buffer.from(answer.deep[2]), bytes);
  },

  async "three hundred messages stay in order, also across the upgrade"() {
    const socket = connect();
    const heard = backs(socket, 300);
    const sent = [...Array(300).keys()];
    for (const number of sent.slice(0, 100)) socket.emit("message", number);
    await once(socket, "connect");
    for (const number of sent.slice(100, 200)) socket.emit("message", number);
    await upgraded(socket);
    for (const number of sent.slice(200)) socket.emit("message", number);
    assert.deepEqual(await heard, sent);
  },

  async "text and binary stay in order across the upgrade"() {
    const socket = await connected();
    const heard = backs(socket, 60);
    for (let number = 0; number < 60; number += 1) {
      socket.emit("message", number % 2 ? Buffer.from([number]) : number);
      if (number % 10 === 0) await new Promise((resolve) => setTimeout(resolve, 5));
    }
    const numbers = (await heard).map((value) => (typeof value === "number" ? value : value[0]));
    assert.deepEqual(numbers, [...Array(60).keys()]);
  },

  async "too large a message ends the connection, which is opened again"() {
    const socket = await connected();
    await upgraded(socket);
    const first = socket.id;
    const gone = once(socket, "disconnect");
    socket.emit("message", "x".repeat(1_200_000));
    assert.match((await gone)[0], /transport (error|close)/);
    await once(socket, "connect");
    assert.notEqual(socket.id, first);
    assert.deepEqual(await ask(socket, 1), [1]);
  },

  async "two namespaces share one connection"() {
    const main = await connected();
    const custom = main.io.socket("/custom", { auth: { a: 1 } });
    open.push(custom);
    assert.deepEqual(await once(custom, "auth"), [{ a: 1 }]);
    assert.equal(main.io.engine, custom.io.engine);
    assert.notEqual(main.id, custom.id);
    custom.disconnect();
    assert.deepEqual(await ask(main, 1), [1]);
  },

  async "an unknown namespace is refused and harms no other"() {
    const main = await connected();
    const unknown = main.io.socket("/unknown");
    const [error] = await once(unknown, "connect_error");
    assert.equal(error.message, "Invalid namespace");
    assert.deepEqual(await ask(main, 1), [1]);
  },

  async "a lost connection is opened again"() {
    const socket = await connected();
    const first = socket.id;
    const gone = once(socket, "disconnect");
    socket.io.engine.close();
    await gone;
    const heard = backs(socket, 1);
    socket.emit("message", "said while away");
    assert.deepEqual(await heard, ["said while away"]);
    assert.notEqual(socket.id, first);
  },

  async "leaving and coming back gives a new id"() {
    const socket = await connected();
    const first = socket.id;
    socket.disconnect();
    socket.connect();
    await once(socket, "connect");
    assert.notEqual(socket.id, first);
  },

  async "the connection lives through ten heartbeats"() {
    const socket = await connected();
    let gone = null;
    socket.on("disconnect", (reason) => (gone = reason));
    const began = performance.now();
    for (let beat = 0; beat < 10; beat += 1) await once(socket.io, "ping");
    assert.equal(gone, null);
    assert.ok(performance.now() - began > 2_700, "pings come an interval apart");
    assert.deepEqual(await ask(socket, 1), [1]);
  },
};

// Options that older releases do not know; nor do those heed maxPayload when they poll.
const recent = {
  async "four messages of 400 KB come back"() {
    const socket = await connected();
    const heard = backs(socket, 4);
    for (let number = 0; number < 4; number += 1) socket.emit("message", `${number}`.repeat(400_000));
    assert.deepEqual((await heard).map((text) => [text[0], text.length]), [0, 1, 2, 3].map((n) => [`${n}`, 400_000]));
  },

  async "retries are acknowledged in order"() {
    const socket = connect("/", { retries: 3, ackTimeout: 5_000 });
    const answers = [1, 2, 3].map(
      (number) => new Promise((resolve) => socket.emit("message-with-ack", number, (...said) => resolve(said))),
    );
    assert.deepEqual(await Promise.all(answers), [[null, 1], [null, 2], [null, 3]]);
  },

  async "the next transport is tried when the first is not to be had"() {
    const [first, second] = MODE === "polling" ? ["websocket", "polling"] : ["polling", "websocket"];
    const socket = await connected("/", {
      transports: [first, second],
      transportOptions: { [first]: { path: "/nowhere/" } },
      tryAllTransports: true,
      upgrade: false,
    });
    assert.equal(socket.io.engine.transport.name, second);
    assert.deepEqual(await ask(socket, 1), [1]);
  },
};

const large = "four messages of 400 KB come back";
const more = NEW_CLIENT ? recent : MODE === "websocket" ? { [large]: recent[large] } : {};
const results = {};
for (const [name, scenario] of Object.entries({ ...scenarios, ...more })) {
  try {
    await scenario();
    results[name] = null;
  } catch (error) {
    results[name] = String(error.stack ?? error);
  }
  for (const socket of open.splice(0)) socket.disconnect();
}
console.log(JSON.stringify(results));
process.exit(0);

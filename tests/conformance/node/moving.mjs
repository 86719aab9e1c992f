// A client of the chat breaks off and comes back, to whichever process its proxy picks next, while
// others talk in both processes. Prints what it saw.
import { createRequire } from "node:module";

const { io } = createRequire(import.meta.url)(process.env.SOCKET_IO_CLIENT);
const { PROXY, ONE, TWO } = process.env;
const once = (emitter, event) => new Promise((resolve) => emitter.once(event, (...args) => resolve(args)));
const say = (socket, text) => new Promise((resolve) => socket.emit("say", text, resolve));

async function enter(origin, name, options = {}) {
  const socket = io(`${origin}/chat`, { auth: { name }, transports: ["websocket"], ...options });
  await once(socket, "welcome");
  return socket;
}

const ada = await enter(PROXY, "ada", { reconnectionDelay: 300, randomizationFactor: 0 });
const heard = [];
let enough = null;
ada.on("said", (name, text) => {
  heard.push(text);
  enough?.();
});
const [one, two] = [await enter(ONE, "grace"), await enter(TWO, "alan")];
const before = { id: ada.id };
await say(one, "seen");
while (heard.length < 1) await new Promise((resolve) => (enough = resolve));

ada.io.engine.close();
const back = once(ada, "connect");
await say(one, "missed 1");
await say(two, "missed 2");
await say(one, "missed 3");
await back;
const after = { same: ada.id === before.id, recovered: ada.recovered, missed: [...heard] };
await say(one, "live 1");
await say(two, "live 2");
while (heard.length < 6) await new Promise((resolve) => (enough = resolve));
ada.on("question", (question, answer) => answer(`${question} 42`));
const answered = once(ada, "answered");
ada.emit("quiz", "6 x 7?");
const [, answer] = await answered;
console.log(JSON.stringify({ ...after, heard, answer }));
process.exit(0);

// Three hundred signed actions of one socket on their way while it moves from polling to WebSocket,
// and what another socket of the same person hears of them. No request is likely to reach the
// process of its session.

import { Agent } from "node:http";
import { connect } from "node:net";

import { Person, report, signIn } from "./person.mjs";

const COUNT = 300;
const LATE_MS = 400; // so much later the probe begins: the first messages leave by polling
const HURRY_MS = 60_000;

const agent = new Agent();
agent.createConnection = (options, done) => void setTimeout(() => done(null, connect(options)), LATE_MS);

const login = await signIn(process.env.HUB_USER, process.env.HUB_PASSWORD);
const far = new Person(login);
await far.ready;

const transports = process.env.TRANSPORTS.split(",");
const near = new Person(login, transports, { transportOptions: { websocket: { agent } } });
let gone = null;
near.socket.once("disconnect", (reason) => (gone = reason));
await near.ready;
const engine = near.socket.io.engine;
const began = engine.transport.name;
const moved = new Promise((resolve) => {
  if (transports.length === 1 || engine.transport.name === "websocket") resolve();
  engine.once("upgrade", resolve);
  engine.once("upgradeError", resolve);
});
const answers = [];
async function speakUpTo(count) {
  for (let number = answers.length; number < count; number += 1) {
    answers.push(near.send(await near.sign("speak", { text: `${number}` })));
  }
}
// On and on until it has moved, and a hundred behind that.
const begun = performance.now();
let here = false;
moved.then(() => (here = true));
while (!here && answers.length < COUNT - 100 && performance.now() - begun < HURRY_MS) {
  await speakUpTo(answers.length + 5);
  await new Promise((resolve) => setTimeout(resolve, 10));
}
const during = answers.length;
await moved;
await speakUpTo(COUNT);

const hurry = new Promise((resolve) => setTimeout(resolve, HURRY_MS, null));
const said = (await Promise.race([Promise.all(answers), hurry])) ?? [];
while (said.length && far.all("action_update").length < COUNT) await far.next("action_update");
report({
  transports: [began, engine.transport.name],
  during,
  gone,
  accepted: said.filter(({ ok }) => ok).length,
  heard: far.all("action_update").map(({ payload }) => Number(payload.text)),
  mine: near.all("action_update").length,
});

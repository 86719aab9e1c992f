// The tour on two stock sockets of one person: act, see it on the other, build a world, be refused.

import { readFileSync } from "node:fs";
import { Person, report, signIn } from "./person.mjs";

const login = await signIn(process.env.HUB_USER, process.env.HUB_PASSWORD);
const [near, far] = [new Person(login), new Person(login)];
const session = await near.ready;
await far.ready;

const seen = far.next("action_update");
const envelope = await near.sign("speak", { text: "hello — 你好" });
const accepted = await near.send(envelope);
const update = await seen;
const replayed = await near.send(envelope);

const spec = JSON.parse(readFileSync(process.env.WORLD, "utf8"));
const finished = near.next("world_update");
const build = await near.act("generate_world", { spec, request_id: "from-node" });
const world = await finished;
const beat = await new Promise((resolve) => near.socket.emit("heartbeat", {}, resolve));

report({
  session, accepted, update, replayed, build, world, beat,
  events: near.names(),
  engine: near.socket.io.engine.transport.name,
  jobs: near.all("job_status"),
  sids: [near.socket.id, far.socket.id],
});

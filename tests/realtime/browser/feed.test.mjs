import assert from "node:assert/strict";
import { test } from "node:test";
import { load, settle } from "./modules.mjs";

const { FeedReader } = await load("feed.js");

function reader(ask = async () => assert.fail("nothing was missed")) {
  const seen = { delivered: [], startedOver: 0 };
  const feed = new FeedReader({
    ask,
    deliver: (name, data) => seen.delivered.push(data.seq ?? name),
    startOver: () => (seen.startedOver += 1),
  });
  const receive = (seq, epoch = "e") => feed.receive("job_status", { seq, epoch });
  return { feed, seen, receive };
}

test("at first it knows nothing, so that the hub answers with a snapshot", () => {
  assert.deepEqual(reader().feed.position, { epoch: "", after: 0 });
});

test("after a snapshot only what is newer is delivered", () => {
  const { feed, seen, receive } = reader();
  feed.begin({ epoch: "e", recovered: false });
  feed.receive("feed_snapshot", { epoch: "e", head: 5, builds: [] });
  for (const seq of [5, 6, 6, 7]) receive(seq);
  assert.deepEqual(seen.delivered, ["feed_snapshot", 6, 7]);
  assert.deepEqual(feed.position, { epoch: "e", after: 7 });
});

test("a replay instead of the snapshot is delivered from wherever it starts", () => {
  const { feed, seen, receive } = reader();
  feed.begin({ epoch: "e", recovered: true });
  for (const seq of [3, 4, 5]) receive(seq);
  assert.deepEqual(seen.delivered, [3, 4, 5]);
});

test("a resumed feed goes on where it stood", () => {
  const { feed, seen, receive } = reader();
  feed.begin({ epoch: "e", recovered: true });
  receive(1);
  feed.begin({ epoch: "e", recovered: true });
  for (const seq of [1, 2]) receive(seq);
  assert.deepEqual(seen.delivered, [1, 2]);
});

test("events outside the feed always pass", () => {
  const { feed, seen } = reader();
  feed.receive("presence_state", []);
  feed.receive("job_status", { progress: 40 });
  assert.deepEqual(seen.delivered, ["presence_state", "job_status"]);
});

test("a gap is asked for and closed in order, and what came meanwhile is not lost", async () => {
  const questions = [];
  const rows = [2, 3, 4, 5].map((seq) => ({ seq, event: "job_status", data: { epoch: "e" } }));
  const { feed, seen, receive } = reader(async (position) => {
    questions.push(position.after);
    return { recovered: true, events: rows.filter(({ seq }) => seq > position.after).slice(0, 2) };
  });
  feed.begin({ epoch: "e", recovered: true });
  receive(1);
  receive(4);
  receive(5);
  await settle();
  assert.deepEqual(seen.delivered, [1, 2, 3, 4, 5]);
  assert.deepEqual(questions, [1, 3]);
});

test("a gap that cannot be closed starts over with a snapshot", async () => {
  for (const answer of [{ recovered: false, events: [] }, { recovered: true, events: [] }, undefined]) {
    const { feed, seen, receive } = reader(async () => answer);
    feed.begin({ epoch: "e", recovered: true });
    receive(1);
    receive(3);
    await settle();
    assert.equal(seen.startedOver, 1);
    assert.deepEqual(feed.position, { epoch: "", after: 0 });
  }
});

test("an event of another epoch starts over", () => {
  const { feed, seen, receive } = reader();
  feed.begin({ epoch: "e", recovered: true });
  receive(1);
  receive(2, "another");
  assert.deepEqual([seen.delivered, seen.startedOver], [[1], 1]);
});

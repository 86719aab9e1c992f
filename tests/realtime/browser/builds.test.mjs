import assert from "node:assert/strict";
import { test } from "node:test";
import { load } from "./modules.mjs";

const { BuildBook, progressOf, retryable } = await load("builds.js");
const status = (rest) => ({ build_id: "b", status: "running", total: 4, completed: 0, failed: 0, engine_online: true, ...rest });
const job = (rest) => ({ build_id: "b", job_id: "j", job_type: "SPAWN_ENTITY", status: "running", attempt: 1, progress: 0, ...rest });

test("a build may be heard of before its ack, and neither undoes the other", () => {
  const book = new BuildBook();
  book.apply("build_status", status({ completed: 1 }));
  const build = book.submitted({ build_id: "b", jobs: [{ job_id: "j", job_type: "BUILD_SCENE" }] }, "Forest");
  assert.deepEqual([build.name, build.completed, build.total, build.jobs.size], ["Forest", 1, 4, 1]);
});

test("progress counts what is done and a part of what runs", () => {
  const book = new BuildBook();
  book.apply("job_status", job({ seq: 1, progress: 50 }));
  assert.equal(progressOf(book.apply("build_status", status({ completed: 1 }))), 38);
  assert.equal(progressOf(book.apply("build_status", status({ status: "completed", completed: 4 }))), 100);
});

test("late progress from outside the feed never undoes an end", () => {
  const book = new BuildBook();
  book.apply("job_status", job({ seq: 1, status: "completed", progress: 100 }));
  const build = book.apply("job_status", job({ progress: 80 }));
  assert.deepEqual([build.jobs.get("j").status, build.jobs.get("j").progress], ["completed", 100]);
});

test("the feed itself may send a job back to the queue", () => {
  const book = new BuildBook();
  book.apply("job_status", job({ seq: 1 }));
  assert.equal(book.apply("job_status", job({ seq: 2, status: "queued" })).jobs.get("j").status, "queued");
});

test("a finished world brings its name and artifact", () => {
  const build = new BuildBook().apply("world_update", { build_id: "b", world: { id: "w", name: "Forest" }, artifact_url: "/a/" });
  assert.deepEqual([build.name, build.artifactUrl], ["Forest", "/a/"]);
});

test("a snapshot replaces everything, oldest first", () => {
  const book = new BuildBook();
  book.apply("build_status", status({ build_id: "old" }));
  const world = { id: "w", name: "Forest" };
  book.reset({ builds: [
    { ...status({ build_id: "second" }), world, artifact_url: null, created_at: 2, jobs: [] },
    { ...status({ build_id: "first" }), world, artifact_url: "/a/", created_at: 1, jobs: [job({ seq: undefined })] },
  ] });
  assert.deepEqual([...book.builds.keys()], ["first", "second"]);
  assert.equal(book.builds.get("first").jobs.size, 1);
});

test("a failed build can be retried by one of its failed jobs; others cannot", () => {
  const book = new BuildBook();
  book.apply("job_status", job({ seq: 1, status: "failed", error: { code: "broken", message: "It broke." } }));
  assert.equal(retryable(book.apply("build_status", status({}))), undefined);
  const failed = retryable(book.apply("build_status", status({ status: "failed" })));
  assert.deepEqual([failed.id, failed.error], ["j", "It broke."]);
});

test("a retried build lists the new jobs instead of those that failed", () => {
  const book = new BuildBook();
  book.apply("job_status", job({ seq: 1, status: "completed", job_id: "done" }));
  book.apply("job_status", job({ seq: 2, status: "failed", job_id: "old" }));
  book.apply("build_status", status({ status: "failed" }));
  book.submitted({ build_id: "b", jobs: [{ job_id: "new", job_type: "SPAWN_ENTITY" }] });
  const build = book.apply("build_status", status({ status: "queued" }));
  assert.deepEqual([...build.jobs.keys()], ["done", "new"]);
});

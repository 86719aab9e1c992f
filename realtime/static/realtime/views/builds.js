// @ts-check
/** Builds and their jobs, live; and what the engines say of themselves. */

import { BuildBook, progressOf, retryable } from "../builds.js";
import { byId, inWords, make } from "../dom.js";
import { forgetThumbnails, thumbnailOf } from "./thumbnails.js";
import { openViewer } from "./viewer.js";

/** @typedef {import("../hub.js").Hub} Hub */
/** @typedef {import("../builds.js").Build} Build */
/** @typedef {import("../builds.js").Job} Job */

const EVENTS = ["build_status", "job_status", "world_update"];
const FINAL = new Set(["completed", "failed"]);

/** @param {string} label @param {number} value percent @returns {HTMLElement} */
function bar(label, value) {
  return make("progress", { max: 100, value, "aria-label": label });
}

/** @param {Job} job @param {number} place in the list @returns {HTMLElement} */
function jobEntry({ id, type, status, progress, attempt, error }, place) {
  const name = `${place + 1}. ${inWords(type)}`;
  const tries = attempt > 1 ? ` · attempt ${attempt}` : "";
  const shown = status === "completed" ? 100 : progress;
  const entry = make(
    "li",
    { data: { job: id, type, status } },
    make("span", { class: "name", text: name }),
    make("span", { class: "about", text: status + tries }),
    bar(name, shown),
  );
  if (error) entry.append(make("p", { class: "error", text: error }));
  return entry;
}

/** @param {Build} build @returns {string} */
function summary({ status, total, completed, failed, engineOnline }) {
  const counts = `${completed} of ${total} jobs done${failed ? `, ${failed} failed` : ""}`;
  const waiting = !engineOnline && !FINAL.has(status) ? " · waiting for an engine" : "";
  return counts + waiting;
}

/** @param {Hub} hub @param {string} type @param {object} payload */
async function command(hub, type, payload) {
  try {
    return await hub.action(type, payload);
  } catch {
    return null; // listed by the refusals panel
  }
}

/** @param {string} text @param {string} testid @param {string} look @param {() => void} onclick */
function button(text, testid, look, onclick) {
  return make("button", { type: "button", class: look, text, data: { testid }, onclick });
}

/** @param {Hub} hub @param {BuildBook} book @param {Job} failed one of the failed stands for all */
async function retry(hub, book, failed) {
  const ack = await command(hub, "job_retry", { job_id: failed.id });
  if (ack?.build_id) render(hub, book, book.submitted(ack));
}

/** @param {Hub} hub @param {BuildBook} book @param {Build} build @returns {HTMLElement[]} */
function buttons(hub, book, build) {
  const failed = retryable(build);
  const made = [];
  if (build.status === "completed" && build.artifactUrl) {
    made.push(button("Open 3D", "open-3d", "primary", () => openViewer(hub, build)));
  }
  if (failed) made.push(button("Retry", "retry-build", "", () => retry(hub, book, failed)));
  if (!FINAL.has(build.status)) {
    const cancel = () => command(hub, "build_cancel", { build_id: build.id });
    made.push(button("Cancel", "cancel-build", "quiet", cancel));
  }
  return made;
}

/** @param {Build} build @param {boolean} open whether the jobs are unfolded @returns {HTMLElement} */
function jobs({ jobs: known }, open) {
  const entries = [...known.values()].map(jobEntry);
  const list = make("ul", { class: "jobs", data: { testid: "job-list" } }, ...entries);
  const details = make("details", {}, make("summary", { text: `Jobs (${known.size})` }), list);
  if (open) details.setAttribute("open", "");
  return details;
}

/**
 * @param {Hub} hub @param {BuildBook} book @param {Build} build
 * @param {boolean} open whether the jobs are unfolded
 * @returns {HTMLElement}
 */
function entry(hub, book, build, open) {
  const name = build.name || `Build ${build.id.slice(0, 8)}`;
  return make(
    "li",
    { data: { build: build.id, status: build.status } },
    ...thumbnailOf(hub, build),
    make("div", { class: "build-head" },
      make("strong", { text: name }),
      make("span", { class: "chip", text: build.status, data: { status: build.status } }),
      make("span", { class: "buttons" }, ...buttons(hub, book, build))),
    bar(`Progress of ${name}`, progressOf(build)),
    make("p", { class: "about", text: summary(build) }),
    jobs(build, open),
  );
}

/** @param {string} id @returns {HTMLElement | undefined} */
function shownEntry(id) {
  return [...byId("build-list").children].find((child) => child.dataset.build === id);
}

/**
 * Draw one build anew in its place, newest on top, keeping what is folded and focused.
 * @param {Hub} hub @param {BuildBook} book @param {Build} build
 */
function render(hub, book, build) {
  const before = shownEntry(build.id);
  const open = before?.querySelector("details")?.open ?? !FINAL.has(build.status);
  const focused = before?.contains(document.activeElement) ? focusedControl(before) : null;
  const after = entry(hub, book, build, open);
  if (before) before.replaceWith(after);
  else byId("build-list").prepend(after);
  if (focused) /** @type {HTMLElement | null} */ (after.querySelector(focused))?.focus();
  byId("build-empty").hidden = true;
}

/** @param {HTMLElement} within @returns {string} a selector that finds the same control again */
function focusedControl(within) {
  const testid = /** @type {HTMLElement} */ (document.activeElement).dataset.testid;
  return testid ? `[data-testid="${testid}"]` : "summary";
}

/** @param {Hub} hub @param {BuildBook} book */
function renderAll(hub, book) {
  byId("build-list").replaceChildren();
  byId("build-empty").hidden = false;
  for (const build of book.builds.values()) render(hub, book, build);
}

/** Fold what is finished: a new build has begun, and the eye belongs there. */
function foldFinished() {
  for (const child of byId("build-list").children) {
    if (FINAL.has(child.dataset.status)) child.querySelector("details").open = false;
  }
}

/** @param {any} status an `engine_status` */
function showEngines({ online, engines = [], waiting_jobs: waiting = 0 }) {
  const line = byId("engine-status");
  const each = engines.map(
    (/** @type {any} */ { name, state, busy, capacity }) => `${name} ${state} ${busy}/${capacity}`,
  );
  const queue = waiting ? ` · ${waiting} jobs waiting` : "";
  line.dataset.online = String(online);
  line.textContent = (online ? `Engine online · ${each.join(", ")}` : "No engine online") + queue;
}

/**
 * @param {Hub} hub
 * @returns {{submitted: (ack: any, name: string) => void}} to be told of accepted builds
 */
export function mountBuilds(hub) {
  const book = new BuildBook();
  /** @type {Set<Build>} */
  const changed = new Set();
  const flush = () => {
    for (const build of changed) render(hub, book, build);
    changed.clear();
  };
  const show = (/** @type {Build} */ build) => {
    if (changed.size === 0) requestAnimationFrame(flush); // many events, one drawing
    changed.add(build);
  };
  for (const event of EVENTS) hub.on(event, (data) => show(book.apply(event, data)));
  hub.on("feed_snapshot", (snapshot) => {
    book.reset(snapshot);
    renderAll(hub, book);
  });
  hub.on("state", (state) => {
    if (state !== "signed out") return;
    forgetThumbnails();
    book.reset({ builds: [] });
    renderAll(hub, book);
  });
  hub.on("engine_status", showEngines);
  const submitted = (/** @type {any} */ ack, /** @type {string} */ name) => {
    foldFinished();
    show(book.submitted(ack, name));
  };
  return { submitted };
}

// @ts-check
/** The world editor: a sample or one's own specification, submitted; findings listed by path. */

import { byId, make } from "../dom.js";
import { Unreachable } from "../errors.js";
import { SAMPLES, loadSample } from "../worlds.js";

/** @typedef {import("../hub.js").Hub} Hub */
/** @typedef {{path: string, message: string}} Finding */

/** A submission whose fate is unknown keeps its id, so that sending it again builds once. */
/** @type {{text: string, requestId: string} | null} */
let unanswered = null;

/** @param {string} text @returns {string} */
function requestIdFor(text) {
  if (unanswered?.text !== text) unanswered = { text, requestId: crypto.randomUUID() };
  return unanswered.requestId;
}

/** @param {any} answer a refusal's facts, or a `job_error` @returns {Finding[]} */
function findingsOf({ findings, errors, path = "", message = "" }) {
  const several = findings ?? errors;
  if (!Array.isArray(several) || several.length === 0) return [{ path: String(path), message }];
  return several.map((one) => ({ path: String(one.path ?? ""), message: String(one.message ?? one) }));
}

/** @param {Finding} finding @returns {HTMLElement} */
function findingEntry({ path, message }) {
  return make(
    "li",
    { data: { path } },
    make("code", { text: path || "$" }),
    make("span", { text: message }),
  );
}

/** @param {Finding[]} findings added to those shown, without doubles */
function addFindings(findings) {
  const list = byId("world-errors");
  const seen = new Set([...list.children].map((entry) => entry.textContent));
  for (const entry of findings.map(findingEntry)) {
    if (!seen.has(entry.textContent)) list.append(entry);
    seen.add(entry.textContent);
  }
}

/** @param {string} text */
function say(text) {
  byId("world-status").textContent = text;
}

/** @param {string} text @returns {any} the specification, or undefined with the fault listed */
function parse(text) {
  try {
    return JSON.parse(text);
  } catch (error) {
    addFindings([{ path: "", message: `This is not JSON: ${/** @type {Error} */ (error).message}` }]);
    return undefined;
  }
}

/** @param {any} error */
function showFailure(error) {
  if (error instanceof Unreachable) return say(`${error.message} Submit again: it will build once.`);
  unanswered = null;
  addFindings(findingsOf({ message: error.message, ...error.facts }));
  say(`Refused: ${error.code}`);
}

/** @param {Hub} hub @param {(ack: any, name: string) => void} onBuild */
async function submit(hub, onBuild) {
  const text = byId("world-editor").value;
  byId("world-errors").replaceChildren();
  say("");
  const spec = parse(text);
  if (spec === undefined) return;
  try {
    const ack = await hub.action("generate_world", { spec, request_id: requestIdFor(text) });
    unanswered = null;
    onBuild(ack, spec?.world?.name ?? "");
    say("Accepted. The build is on its way.");
  } catch (error) {
    showFailure(error);
  }
}

/** @param {string} id */
async function choose(id) {
  const button = byId("world-submit");
  button.disabled = true; // or the former text would be submitted
  try {
    byId("world-editor").value = await loadSample(id);
  } catch (error) {
    say(/** @type {Error} */ (error).message);
  } finally {
    button.disabled = false;
  }
}

/** @param {any} error a `job_error` that belongs to no job: the editor's */
function showJobError(error) {
  if (!error.job_id) addFindings(findingsOf(error));
}

/** @param {Hub} hub @param {(ack: any, name: string) => void} onBuild told of each accepted build */
export function mountWorld(hub, onBuild) {
  const picker = byId("world-sample");
  picker.replaceChildren(...SAMPLES.map(({ id, label }) => make("option", { value: id, text: label })));
  picker.addEventListener("change", () => choose(picker.value));
  byId("world-submit").addEventListener("click", () => submit(hub, onBuild));
  hub.on("job_error", showJobError);
  return choose(SAMPLES[0].id);
}

// @ts-check
/** What the hub said no to, and a corner from which to make it say no. */

import { addToTop, byId, make, timeOfDay } from "../dom.js";
import { HubError } from "../errors.js";

/** @typedef {import("../hub.js").Hub} Hub */

const FRESH_MS = 5_000; // well inside the hub's window, so that a replay is refused as a replay
const STALE_MS = 60_000;

/** @param {string} code @param {string} about @param {number} at @param {Record<string, string>} data */
function refusalEntry(code, about, at, data) {
  return make(
    "li",
    { data },
    make("code", { text: code }),
    timeOfDay(at),
    make("span", { class: "gist", text: about }),
  );
}

/** @param {Hub} hub @param {{code: string, message: string, type: string}} refusal */
function showRefusal(hub, { code, message, type }) {
  const about = [type, message].filter(Boolean).join(": ");
  addToTop(byId("refusal-list"), refusalEntry(code, about, hub.clock.now(), { code, type }));
  byId("refusal-count").textContent = String(byId("refusal-list").childElementCount);
}

/** @param {Hub} hub @param {{code: string, message: string}} notice */
function showNotice(hub, { code, message }) {
  addToTop(byId("notice-list"), refusalEntry(code, message, hub.clock.now(), { kind: code }));
}

/** @param {Hub} hub @param {{kind: string, message: string, count?: number}} notice */
function showSecurityNotice(hub, { kind, message, count = 1 }) {
  showNotice(hub, { code: kind, message: count > 1 ? `${message} (${count} times)` : message });
}

/** Sent again byte for byte; if the last one is old, a fresh one goes first. @param {Hub} hub */
async function replayLast(hub) {
  const last = hub.lastEnvelope;
  const fresh = last && hub.clock.now() - last.ts < FRESH_MS;
  const envelope = fresh ? last : await hub.envelope("emote", { name: "wave" });
  if (!fresh) await hub.send(envelope);
  await hub.send(envelope);
}

/** One digit of a true signature changed. @param {Hub} hub */
async function forgeSignature(hub) {
  const envelope = await hub.envelope("emote", { name: "wave" });
  const digit = envelope.sig.startsWith("0") ? "1" : "0";
  await hub.send({ ...envelope, sig: digit + envelope.sig.slice(1) });
}

/** Truly signed, a minute ago. @param {Hub} hub */
async function staleTimestamp(hub) {
  await hub.send(await hub.envelope("emote", { name: "wave" }, { ts: hub.clock.now() - STALE_MS }));
}

/** @type {Record<string, (hub: Hub) => Promise<void>>} */
const TRICKS = {
  "replay-last": replayLast,
  "forge-signature": forgeSignature,
  "stale-timestamp": staleTimestamp,
};

/** @param {Hub} hub @param {(hub: Hub) => Promise<void>} trick */
async function attempt(hub, trick) {
  const verdict = byId("hostile-verdict");
  try {
    await trick(hub);
    verdict.textContent = "The hub accepted it. That should not happen.";
  } catch (error) {
    const code = error instanceof HubError ? error.code : String(error);
    verdict.textContent = `Refused, as it should be: ${code}`;
  }
}

/** @param {Hub} hub */
export function mountRefusals(hub) {
  hub.on("refused", (refusal) => showRefusal(hub, refusal));
  hub.on("notice", (notice) => showNotice(hub, notice));
  hub.on("security_notice", (notice) => showSecurityNotice(hub, notice));
  for (const [id, trick] of Object.entries(TRICKS)) {
    byId(id).addEventListener("click", () => attempt(hub, trick));
    hub.on("state", (state) => (byId(id).disabled = state !== "connected"));
  }
}

// @ts-check
/** The top line: who, connected or not, how far the clocks are apart, and away or here. */

import { byId } from "../dom.js";

/** @typedef {import("../hub.js").Hub} Hub */

/** @param {Hub} hub @param {string} state */
function showState(hub, state) {
  const line = byId("connection-state");
  line.textContent = state;
  line.dataset.state = state.replace(" ", "-");
  byId("reconnect").hidden = state !== "stopped";
  byId("whoami").textContent = hub.username;
  byId("presence-toggle").disabled = state !== "connected";
  if (state === "connected") byId("presence-toggle").setAttribute("aria-pressed", "false");
}

/** @param {number} offset milliseconds the hub is ahead */
function showClock(offset) {
  const rounded = Math.round(offset);
  byId("clock-offset").textContent = `clock ${rounded < 0 ? "−" : "+"}${Math.abs(rounded)} ms`;
}

/** @param {Hub} hub */
async function toggleAway(hub) {
  const button = byId("presence-toggle");
  const idle = button.getAttribute("aria-pressed") !== "true";
  try {
    await hub.action("presence", { state: idle ? "idle" : "active" });
    button.setAttribute("aria-pressed", String(idle));
  } catch {
    // Refusals are listed by their own panel; the button stays as it was.
  }
}

/** @param {Hub} hub */
export function mountHeader(hub) {
  hub.on("state", (state) => showState(hub, state));
  hub.on("clock", showClock);
  byId("reconnect").addEventListener("click", () => hub.reconnect());
  byId("presence-toggle").addEventListener("click", () => toggleAway(hub));
}

// @ts-check
/** The action pad, and the stream of what others do. */

import { addToTop, byId, make, timeOfDay } from "../dom.js";
import { Unreachable } from "../errors.js";

/** @typedef {import("../hub.js").Hub} Hub */

/** What each button signs, from the words in the field above. */
/** @type {Record<string, (words: string) => object>} */
const PAYLOADS = {
  click: (words) => ({ target: words || "ground", x: 12, y: 34 }),
  inspect: (words) => ({ target: words || "cabin" }),
  interact: (words) => ({ target: words || "cabin_door", verb: "open" }),
  speak: (words) => ({ text: words || "Hello, everybody!" }),
  call_npc: (words) => ({ npc: words || "fox" }),
  navigate: (words) => ({ to: words || "clearing" }),
  move: () => ({ position: [1.5, 0, -2], heading: 90 }),
  input: (words) => ({ key: words || "Space", pressed: true }),
  scroll: () => ({ delta: 120 }),
  emote: (words) => ({ name: words || "wave" }),
};

/** @param {string} text */
function say(text) {
  byId("action-status").textContent = text;
}

/** @param {Hub} hub @param {string} type */
async function act(hub, type) {
  const startedAt = performance.now();
  try {
    await hub.action(type, PAYLOADS[type](byId("action-words").value.trim()));
    say(`${type}: accepted in ${Math.round(performance.now() - startedAt)} ms`);
  } catch (error) {
    say(`${type}: ${error instanceof Unreachable ? error.message : /** @type {any} */ (error).code}`);
  }
}

/** @param {any} payload @returns {string} what matters of it in a line */
function gist(payload) {
  if (payload === null || payload === undefined) return "";
  const texts = Object.values(payload).filter((value) => typeof value === "string");
  return texts[0] ?? JSON.stringify(payload);
}

/** @param {any} update an `action_update` */
function showUpdate({ id, username, type, payload, server_time: at }) {
  const entry = make(
    "li",
    { data: { type, id, user: username } },
    make("span", { class: "name", text: username }),
    make("span", { class: "verb", text: type }),
    make("span", { class: "gist", text: gist(payload), title: JSON.stringify(payload) }),
    timeOfDay(at),
  );
  addToTop(byId("action-log"), entry);
}

/** @param {any} update an `agent_update` @param {number} at */
function showAgent({ agent, message }, at) {
  const entry = make(
    "li",
    { class: "agent", data: { agent } },
    make("span", { class: "name", text: agent }),
    make("span", { class: "verb", text: "to you" }),
    make("span", { class: "gist", text: message }),
    timeOfDay(at),
  );
  addToTop(byId("action-log"), entry);
}

/** @param {Hub} hub */
export function mountActions(hub) {
  const buttons = Object.keys(PAYLOADS).map((type) =>
    make("button", {
      type: "button", id: `action-${type}`, text: type.replace("_", " "),
      data: { testid: `action-${type}` }, onclick: () => act(hub, type),
    }),
  );
  byId("action-pad").replaceChildren(...buttons);
  hub.on("action_update", showUpdate);
  hub.on("agent_update", (update) => showAgent(update, hub.clock.now()));
  hub.on("state", (state) => {
    for (const button of buttons) /** @type {HTMLButtonElement} */ (button).disabled = state !== "connected";
    if (state === "signed out") byId("action-log").replaceChildren();
  });
}

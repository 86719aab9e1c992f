// @ts-check
/** Who is here: the lobby's members, each with a state; the departed stay visible for a moment. */

import { byId, make } from "../dom.js";

/** @typedef {import("../hub.js").Hub} Hub */
/** @typedef {{user_id: string, username: string, state: string, device?: string, sockets?: number}} Member */

const ROOM = "lobby"; // every socket begins there, and this page joins no other
const FAREWELL_MS = 3_000;

/** @type {Map<string, Member>} */
const members = new Map();

/** @param {Hub} hub @param {Member} member @returns {HTMLElement} */
function entry(hub, { user_id: id, username, state, device, sockets = 1 }) {
  const self = username === hub.username;
  const about = [state, device, sockets > 1 ? `${sockets} connections` : ""].filter(Boolean).join(" · ");
  return make(
    "li",
    { data: { user: username, userId: id, state } },
    make("span", { class: "dot", "aria-hidden": "true" }),
    make("span", { class: "name", text: self ? `${username} (you)` : username }),
    make("span", { class: "about", text: about }),
  );
}

/** @param {Hub} hub */
function render(hub) {
  const sorted = [...members.values()].sort((one, other) => one.username.localeCompare(other.username));
  byId("presence-list").replaceChildren(...sorted.map((member) => entry(hub, member)));
  const here = sorted.filter(({ state }) => state !== "disconnected").length;
  byId("presence-count").textContent = String(here);
}

/** @param {Hub} hub @param {Member} member */
function depart(hub, member) {
  const gone = { ...member, state: "disconnected" };
  members.set(gone.user_id, gone);
  setTimeout(() => {
    if (members.get(gone.user_id) !== gone) return; // came back meanwhile
    members.delete(gone.user_id);
    render(hub);
  }, FAREWELL_MS);
}

/** @param {Hub} hub @param {Member[]} all */
function replace(hub, all) {
  members.clear();
  for (const member of all) members.set(member.user_id, member);
  render(hub);
}

/** @param {Hub} hub @param {{room: string, joins?: Member[], leaves?: Member[], changes?: Member[]}} diff */
function change(hub, { room, joins = [], leaves = [], changes = [] }) {
  if (room !== ROOM) return;
  for (const member of leaves) depart(hub, member);
  for (const member of [...joins, ...changes]) members.set(member.user_id, member);
  render(hub);
}

/** @param {Hub} hub */
export function mountPresence(hub) {
  hub.on("presence_state", (all) => replace(hub, all));
  hub.on("presence_diff", (diff) => change(hub, diff));
  hub.on("state", (state) => state === "signed out" && replace(hub, []));
}

// @ts-check
/** The door: sign in, take up a stored login, sign out, and say why it does not open. */

import { byId, make } from "../dom.js";
import { canSign } from "../signing.js";

/** @typedef {import("../hub.js").Hub} Hub */

const TAB_KEY = "interaction-hub:login"; // sessionStorage: each tab may be somebody else

/** @type {Record<string, string>} */
const REASONS = {
  invalid_credentials: "That name and password do not go together.",
  rate_limited: "Too many attempts. Wait a minute, then try again.",
  network: "The hub cannot be reached.",
};

/** @param {any} error @returns {string} */
function reasonOf(error) {
  return REASONS[error.code] ?? error.message ?? String(error);
}

/** @param {string} text */
function complain(text) {
  byId("sign-in-error").textContent = text;
}

/** @param {Hub} hub @param {() => Promise<any>} way in */
async function enter(hub, way) {
  const button = byId("sign-in");
  button.disabled = true;
  complain("");
  try {
    await way();
    sessionStorage.setItem(TAB_KEY, hub.loginId);
  } catch (error) {
    complain(reasonOf(error));
  } finally {
    button.disabled = false;
  }
}

/** Offer the logins that other tabs, or an earlier visit, have left. @param {Hub} hub */
async function offerStored(hub) {
  const logins = await hub.vault.all();
  const choices = logins.slice(0, 4).map(({ id, username }) =>
    make("button", {
      type: "button", class: "quiet", text: `Continue as ${username}`,
      onclick: () => enter(hub, () => hub.resume(id)),
    }),
  );
  byId("stored-logins").replaceChildren(...choices);
}

/** @param {Hub} hub */
async function resumeOfThisTab(hub) {
  const id = sessionStorage.getItem(TAB_KEY);
  if (id) await enter(hub, () => hub.resume(id));
  if (hub.state === "signed out") await offerStored(hub);
}

/** @param {Hub} hub */
async function leave(hub) {
  sessionStorage.removeItem(TAB_KEY);
  try {
    await hub.signOut();
  } catch (error) {
    complain(`You are signed out here, but the hub was not told: ${reasonOf(error)}`);
  }
}

/** @param {SubmitEvent} event @param {Hub} hub */
async function submitted(event, hub) {
  event.preventDefault();
  const password = byId("password");
  await enter(hub, () => hub.signIn(byId("username").value.trim(), password.value));
  if (hub.username) password.value = "";
}

/** @param {Hub} hub @param {string} state */
function show(hub, state) {
  const outside = state === "signed out";
  const wasOutside = !byId("door").hidden;
  byId("door").hidden = !outside;
  byId("console").hidden = outside;
  if (outside && !wasOutside) offerStored(hub);
}

/** @param {Hub} hub */
export function mountSignIn(hub) {
  const form = byId("sign-in-form");
  form.addEventListener("submit", (/** @type {SubmitEvent} */ event) => submitted(event, hub));
  byId("sign-out").addEventListener("click", () => leave(hub));
  hub.on("state", (state) => show(hub, state));
  hub.on("notice", ({ code, message }) => code === "signed_out" && complain(message));
  if (canSign()) return resumeOfThisTab(hub);
  byId("insecure").hidden = false;
  byId("sign-in").disabled = true;
}

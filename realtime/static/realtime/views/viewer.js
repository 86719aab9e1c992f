// @ts-check
/** The dialog that fetches a build's artifact with the bearer token and shows it. */

import { byId, make } from "../dom.js";
import { parseGlb } from "../glb.js";
import { Viewer } from "../viewer.js";

/** @typedef {import("../hub.js").Hub} Hub */
/** @typedef {import("../builds.js").Build} Build */

/** @type {Viewer | null} */
let viewer = null;
let blobUrl = "";

function clear() {
  viewer?.close();
  viewer = null;
  URL.revokeObjectURL(blobUrl);
  blobUrl = "";
  const dialog = byId("viewer");
  delete dialog.dataset.nodes;
  byId("viewer-stage").replaceChildren();
  byId("viewer-error").textContent = "";
  byId("viewer-facts").textContent = "Fetching the world …";
  byId("viewer-download").hidden = true;
}

/** @param {Blob} blob @param {string} name */
function offerDownload(blob, name) {
  const link = byId("viewer-download");
  blobUrl = URL.createObjectURL(blob);
  link.href = blobUrl;
  link.download = `${name.toLowerCase().replace(/[^a-z0-9]+/g, "-") || "world"}.glb`;
  link.hidden = false;
}

/** @param {Blob} blob @param {string} name */
async function draw(blob, name) {
  const world = parseGlb(await blob.arrayBuffer());
  const count = world.nodes.length;
  byId("viewer-facts").textContent = `${count} nodes · ${Math.ceil(blob.size / 1024)} KiB`;
  const label = `${name} in 3D, ${count} nodes. Arrow keys turn, plus and minus zoom, Home starts over.`;
  const attributes = { tabindex: 0, role: "img", "aria-label": label };
  const canvas = /** @type {HTMLCanvasElement} */ (make("canvas", attributes));
  byId("viewer-stage").replaceChildren(canvas);
  viewer = new Viewer(canvas, world);
  byId("viewer").dataset.nodes = String(count);
  canvas.focus();
}

/** @param {Hub} hub @param {Build} build a completed one */
export async function openViewer(hub, build) {
  const dialog = byId("viewer");
  const name = build.name || build.id;
  clear();
  byId("viewer-title").textContent = name;
  dialog.showModal();
  try {
    const blob = await (await hub.get(build.artifactUrl)).blob();
    offerDownload(blob, name);
    await draw(blob, name);
  } catch (error) {
    byId("viewer-facts").textContent = "";
    byId("viewer-error").textContent = /** @type {Error} */ (error).message;
  }
}

export function mountViewer() {
  const dialog = byId("viewer");
  byId("viewer-close").addEventListener("click", () => dialog.close());
  dialog.addEventListener("close", clear);
}

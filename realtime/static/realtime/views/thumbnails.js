// @ts-check
/** Pictures of finished builds: each fetched once with the bearer token, and kept while it is shown. */

import { make } from "../dom.js";

/** @typedef {import("../hub.js").Hub} Hub */
/** @typedef {import("../builds.js").Build} Build */

/** @type {Map<string, HTMLElement>} by build */
const pictures = new Map();

/**
 * @param {Hub} hub @param {Build} build
 * @returns {HTMLElement[]} the picture of a completed build, hidden until it is there; else nothing
 */
export function thumbnailOf(hub, build) {
  if (build.status !== "completed" || !build.artifactUrl) return [];
  const known = pictures.get(build.id);
  if (known) return [known];
  const image = make("img", { class: "thumbnail", alt: `Picture of ${build.name}`, hidden: "", data: { testid: "thumbnail" } });
  pictures.set(build.id, image);
  load(hub, build.id, /** @type {HTMLImageElement} */ (image)).catch(() => pictures.delete(build.id));
  return [image];
}

/** Let go of all pictures: another person may sign in. */
export function forgetThumbnails() {
  for (const image of pictures.values()) URL.revokeObjectURL(/** @type {HTMLImageElement} */ (image).src);
  pictures.clear();
}

/**
 * Not every engine brings a picture, so the build is asked for its address first.
 * @param {Hub} hub @param {string} id @param {HTMLImageElement} image
 */
async function load(hub, id, image) {
  const { thumbnail_url: address } = await (await hub.get(`/api/builds/${id}/`)).json();
  if (!address) return;
  image.src = URL.createObjectURL(await (await hub.get(address)).blob());
  image.hidden = false;
}

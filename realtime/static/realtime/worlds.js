// @ts-check
/** The sample worlds that come with the console; each is a file beside this module. */

/** @typedef {{id: string, label: string}} Sample */

/** @type {readonly Sample[]} */
export const SAMPLES = [
  { id: "forest", label: "Whispering Forest" },
  { id: "desert", label: "Amber Desert" },
  { id: "ocean", label: "Lighthouse Bay" },
  { id: "volcano", label: "Ember Peak" },
];

/**
 * @param {string} id one of `SAMPLES`
 * @returns {Promise<string>} the specification as text, laid out to be read and edited
 * @throws {Error} the file could not be had
 */
export async function loadSample(id) {
  const response = await fetch(new URL(`./worlds/${id}.json`, import.meta.url));
  if (!response.ok) throw new Error(`The sample "${id}" could not be loaded (${response.status}).`);
  return response.text();
}

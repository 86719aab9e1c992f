// @ts-check
/** Elements without markup: text from the network only ever becomes text. */

/**
 * @param {string} tag
 * @param {{text?: string, data?: Record<string, string | number>, [attribute: string]: any}} [options]
 *   `text` becomes textContent, `data` the dataset, any other key an attribute; a function under
 *   `onclick` listens for clicks
 * @param {...Node} children
 * @returns {HTMLElement}
 */
export function make(tag, { text, data = {}, onclick, ...attributes } = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, String(value));
  for (const [name, value] of Object.entries(data)) element.dataset[name] = String(value);
  if (text !== undefined) element.textContent = text;
  if (onclick) element.addEventListener("click", onclick);
  element.append(...children);
  return element;
}

/** @param {string} id @returns {any} the element of the page @throws {Error} the page lacks it */
export function byId(id) {
  const element = document.getElementById(id);
  if (!element) throw new Error(`the page has no #${id}`);
  return element;
}

/**
 * Put an entry on top of a list and drop the oldest beyond `most`.
 * @param {HTMLElement} list
 * @param {HTMLElement} entry
 * @param {number} [most]
 */
export function addToTop(list, entry, most = 100) {
  list.prepend(entry);
  while (list.childElementCount > most) list.lastElementChild?.remove();
}

/** @param {number} at milliseconds since the epoch @returns {HTMLElement} the time of day */
export function timeOfDay(at) {
  const moment = new Date(at);
  return make("time", { datetime: moment.toISOString(), text: moment.toLocaleTimeString() });
}

/** @param {string} name as on the wire: `SPAWN_ENTITY` @returns {string} "Spawn entity" */
export function inWords(name) {
  const words = name.replaceAll("_", " ").toLowerCase();
  return words.charAt(0).toUpperCase() + words.slice(1);
}

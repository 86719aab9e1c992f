// @ts-check
/** The hub's HTTP side as calls: JSON in and out, errors as `Refused` or `Unreachable`. */

import { Refused, Unreachable } from "./errors.js";

/** @param {Response} response @returns {Promise<any>} the JSON body; `{}` when there is none */
async function bodyOf(response) {
  try {
    return await response.json();
  } catch {
    return {}; // 204, or a proxy's own error page
  }
}

export class Api {
  #origin;
  #clock;

  /** @param {string} origin @param {import("./clock.js").ServerClock} clock fed by each answer */
  constructor(origin, clock) {
    this.#origin = origin;
    this.#clock = clock;
  }

  /**
   * @param {string} path
   * @param {object} body
   * @returns {Promise<any>}
   * @throws {Refused | Unreachable}
   */
  async post(path, body) {
    const headers = { "Content-Type": "application/json" };
    const sentAt = this.#clock.local();
    const response = await this.#fetch(path, { method: "POST", headers, body: JSON.stringify(body) });
    const answer = await bodyOf(response);
    this.#clock.sample(answer.server_time, sentAt);
    return answer;
  }

  /**
   * @param {string} path
   * @param {string} access the bearer token
   * @returns {Promise<Response>}
   * @throws {Refused | Unreachable}
   */
  async get(path, access) {
    return this.#fetch(path, { headers: { Authorization: `Bearer ${access}` } });
  }

  /** @param {string} path @param {RequestInit} init @returns {Promise<Response>} */
  async #fetch(path, init) {
    const response = await fetch(this.#address(path), {
      ...init,
      credentials: "omit", // the hub uses no cookies here
      cache: "no-store",
    }).catch((cause) => {
      throw new Unreachable("network", `The hub cannot be reached (${cause.message}).`);
    });
    if (response.ok) return response;
    throw await refusalOf(response);
  }

  /** A bearer token never leaves for another origin. @param {string} path @returns {URL} */
  #address(path) {
    const address = new URL(path, this.#origin);
    if (address.origin !== new URL(this.#origin).origin) {
      throw new Refused("foreign_origin", `${address.origin} is not this hub.`);
    }
    return address;
  }
}

/** @param {Response} response @returns {Promise<Refused | Unreachable>} */
async function refusalOf(response) {
  const body = await bodyOf(response);
  const { code = `http_${response.status}`, message = response.statusText, ...facts } = body;
  const Kind = response.status >= 500 ? Unreachable : Refused;
  return new Kind(code, message, { ...facts, status: response.status });
}

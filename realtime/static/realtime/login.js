// @ts-check
/**
 * One login: the access token in memory, its renewal, and the stored half in the vault. Tabs of
 * one login share its refresh token, and the hub ends a login whose spent refresh token comes
 * back; so a renewal reads, spends and stores the token under one lock for all tabs.
 */

import { Refused } from "./errors.js";
import { importSecret, randomNonce } from "./signing.js";

const RENEW_AT = 0.75; // of a token's life: before the hub's `auth_expiring` at 300 s tokens

/** @template T @param {string} name @param {() => Promise<T>} work @returns {Promise<T>} */
function exclusively(name, work) {
  const locks = globalThis.navigator?.locks;
  return locks ? locks.request(`interaction-hub:${name}`, work) : work();
}

export class Login {
  #api;
  #vault;
  #clock;
  #access = "";
  #expiresAt = 0;
  #lifeMs = 0;
  /** @type {Promise<void> | null} */
  #renewing = null;

  /**
   * @param {{api: import("./api.js").Api, vault: import("./vault.js").Vault,
   *   clock: import("./clock.js").ServerClock}} parts
   * @param {{id: string, username: string, key: CryptoKey}} stored
   */
  constructor({ api, vault, clock }, { id, username, key }) {
    this.#api = api;
    this.#vault = vault;
    this.#clock = clock;
    this.id = id;
    this.username = username;
    this.key = key;
  }

  /**
   * @param {ConstructorParameters<typeof Login>[0]} parts
   * @param {{username: string, password: string}} credentials
   * @returns {Promise<Login>}
   * @throws {import("./errors.js").HubError} `invalid_credentials`, `rate_limited`, `network`, ...
   */
  static async begin(parts, credentials) {
    const answer = await parts.api.post("/api/token/", credentials);
    const key = await importSecret(answer.session_secret);
    const { username } = credentials;
    const login = new Login(parts, { id: randomNonce(), username, key });
    await login.#keep(answer);
    return login;
  }

  /**
   * @param {ConstructorParameters<typeof Login>[0]} parts
   * @param {string} id
   * @returns {Promise<Login | null>} null when nothing is stored under that id
   */
  static async stored(parts, id) {
    const record = await parts.vault.load(id);
    return record ? new Login(parts, record) : null;
  }

  /** @returns {number} milliseconds until the token is due for renewal; 0 if it is */
  get renewalDueMs() {
    const due = this.#expiresAt - this.#lifeMs * (1 - RENEW_AT);
    return Math.max(0, due - this.#clock.now());
  }

  /** @returns {Promise<string>} a token with life left in it @throws {Refused} the login ended */
  async accessToken() {
    if (this.renewalDueMs === 0) await this.renew();
    return this.#access;
  }

  /** @throws {Refused} with status 401 when the login has ended */
  async renew() {
    this.#renewing ??= this.#spendRefresh().finally(() => {
      this.#renewing = null;
    });
    return this.#renewing;
  }

  async #spendRefresh() {
    await exclusively(this.id, async () => {
      const record = await this.#vault.load(this.id);
      if (!record) throw new Refused("signed_out", "Signed out in another tab.", { status: 401 });
      await this.#keep(await this.#api.post("/api/token/refresh/", { refresh: record.refresh }));
    });
  }

  /** @param {{access: string, refresh: string, access_expires_at: number, server_time: number}} answer */
  async #keep({ access, refresh, access_expires_at: expiresAt, server_time: serverTime }) {
    const { id, username, key } = this;
    await this.#vault.save({ id, username, key, refresh, savedAt: this.#clock.local() });
    this.#access = access;
    this.#expiresAt = expiresAt;
    this.#lifeMs = expiresAt - serverTime;
  }

  /** End the login at the hub, everywhere, and forget it here even if the hub is away. */
  async end() {
    await exclusively(this.id, async () => {
      const record = await this.#vault.load(this.id);
      await this.forget();
      if (record) await this.#api.post("/api/token/revoke/", { refresh: record.refresh });
    });
  }

  /** Forget it in this browser only. */
  async forget() {
    this.#access = "";
    await this.#vault.forget(this.id);
  }
}

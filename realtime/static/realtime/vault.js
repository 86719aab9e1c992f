// @ts-check
/**
 * Where a login survives a reload: IndexedDB, one record per login. It keeps the session secret
 * only as a non-extractable CryptoKey, and the refresh token that the hub rotates at each use.
 */

/**
 * @typedef {object} StoredLogin
 * @property {string} id of this record, random
 * @property {string} username
 * @property {CryptoKey} key from `importSecret`
 * @property {string} refresh
 * @property {number} savedAt milliseconds since the epoch, by this machine
 */

const DATABASE = "interaction-hub";
const STORE = "logins";

/** @template T @param {IDBRequest<T>} request @returns {Promise<T>} */
function settled(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

/** @returns {Promise<IDBDatabase>} */
function openDatabase() {
  const request = indexedDB.open(DATABASE, 1);
  request.onupgradeneeded = () => request.result.createObjectStore(STORE, { keyPath: "id" });
  return settled(request);
}

export class Vault {
  /** @type {Promise<IDBDatabase> | undefined} */
  #database;

  /** @param {IDBTransactionMode} mode @returns {Promise<IDBObjectStore>} */
  async #store(mode) {
    this.#database ??= openDatabase();
    return (await this.#database).transaction(STORE, mode).objectStore(STORE);
  }

  /** @param {string} id @returns {Promise<StoredLogin | undefined>} */
  async load(id) {
    return settled((await this.#store("readonly")).get(id));
  }

  /** @returns {Promise<StoredLogin[]>} newest first */
  async all() {
    const logins = await settled((await this.#store("readonly")).getAll());
    return logins.sort((one, other) => other.savedAt - one.savedAt);
  }

  /** @param {StoredLogin} login */
  async save(login) {
    await settled((await this.#store("readwrite")).put(login));
  }

  /** @param {string} id */
  async forget(id) {
    await settled((await this.#store("readwrite")).delete(id));
  }
}

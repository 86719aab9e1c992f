// @ts-check
/**
 * Server time as this browser sees it. Each answer of the hub that names its time is a sample;
 * the one with the shortest round trip is the most exact (as NTP chooses), among the latest few.
 */

const SAMPLES_KEPT = 8;

export class ServerClock {
  /** @type {{offset: number, roundTrip: number}[]} */
  #samples = [];
  #localNow;

  /** @param {() => number} [localNow] milliseconds since the epoch by this machine */
  constructor(localNow = Date.now) {
    this.#localNow = localNow;
  }

  /** @returns {number} this machine's milliseconds, to be passed back to `sample` */
  local() {
    return this.#localNow();
  }

  /** @returns {number} integer milliseconds since the epoch as the hub counts them */
  now() {
    return Math.round(this.#localNow() + this.offset);
  }

  /** @returns {number} milliseconds the hub is ahead of this machine; 0 before any sample */
  get offset() {
    const [first, ...rest] = this.#samples;
    if (!first) return 0;
    return rest.reduce((best, next) => (next.roundTrip < best.roundTrip ? next : best), first).offset;
  }

  /**
   * @param {number} serverTime
   * @param {number} sentAt from `local()` when the question left
   */
  sample(serverTime, sentAt) {
    if (!Number.isFinite(serverTime)) return;
    const receivedAt = this.#localNow();
    const offset = serverTime - (sentAt + receivedAt) / 2;
    this.#samples.push({ offset, roundTrip: receivedAt - sentAt });
    this.#samples.splice(0, this.#samples.length - SAMPLES_KEPT);
  }

  /** Forget what was learnt: the hub said that our time is wrong, so a clock has jumped. */
  forget() {
    this.#samples = [];
  }
}

// @ts-check
/** What can go wrong between a browser and the hub, split by who is at fault. */

/** Base of both families; `code` is stable and fit for programs. */
export class HubError extends Error {
  /**
   * @param {string} code
   * @param {string} [message]
   * @param {Record<string, any>} [facts] the answer's other fields, as they came
   */
  constructor(code, message = "", facts = {}) {
    super(message || code);
    this.name = new.target.name;
    this.code = code;
    this.facts = facts;
  }

  /** @returns {number} milliseconds to wait before another try; 0 when the hub named none */
  get retryAfterMs() {
    const wait = this.facts.retry_after_ms;
    return Number.isFinite(wait) && wait > 0 ? wait : 0;
  }
}

/** The hub was asked and said no. */
export class Refused extends HubError {}

/** The hub could not be asked, or did not answer in time; whether it acted is unknown. */
export class Unreachable extends HubError {}

/** This browser lacks what signing needs (WebCrypto outside HTTPS and localhost). */
export class Unsupported extends HubError {}

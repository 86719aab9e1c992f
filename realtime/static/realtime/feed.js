// @ts-check
/**
 * Where this page stands in its owner's durable feed: which event is new, which was seen, and
 * what to do when one is missing. It does no I/O; the hub is asked through functions given.
 */

/** @typedef {"new" | "seen" | "gap" | "foreign"} Verdict */

export class FeedCursor {
  epoch = "";
  /** @type {number | null} the last event delivered; null: unknown, the next event says */
  #seq = null;
  #highest = 0;

  /** @returns {{epoch: string, after: number}} what CONNECT and `feed` are asked with */
  get position() {
    return { epoch: this.epoch, after: this.#seq ?? 0 };
  }

  /** @returns {boolean} whether an event is known to exist that was not delivered */
  get behind() {
    return this.#seq !== null && this.#highest > this.#seq;
  }

  /**
   * A `session` arrived. Recovered: the missed events follow; if not, a snapshot does.
   * @param {{epoch: string, recovered: boolean}} feed
   */
  begin({ epoch, recovered }) {
    if (recovered && epoch === this.epoch) return;
    this.epoch = epoch;
    this.#seq = null;
    this.#highest = 0;
  }

  /** A snapshot replaced everything up to `head`. @param {{epoch: string, head: number}} at */
  reset({ epoch, head }) {
    this.epoch = epoch;
    this.#seq = head;
    this.#highest = head;
  }

  /** Know nothing: the next CONNECT brings a snapshot. */
  forget() {
    this.epoch = "";
    this.#seq = null;
    this.#highest = 0;
  }

  /**
   * Judge an event, and move past it if it is new.
   * @param {{seq: number, epoch?: string}} event
   * @returns {Verdict} `foreign` is of another epoch: positions no longer compare
   */
  accept({ seq, epoch = this.epoch }) {
    if (epoch !== this.epoch) return "foreign";
    this.#highest = Math.max(this.#highest, seq);
    if (this.#seq !== null && seq <= this.#seq) return "seen";
    if (this.#seq !== null && seq > this.#seq + 1) return "gap";
    this.#seq = seq;
    return "new";
  }
}

/**
 * @typedef {object} FeedAnswer
 * @property {boolean} recovered
 * @property {{seq: number, event: string, data: object}[]} events
 */

/** Delivers each feed event exactly once and in order; closes gaps by asking. */
export class FeedReader {
  #cursor = new FeedCursor();
  #catchingUp = false;
  #ask;
  #deliver;
  #startOver;

  /**
   * @param {object} options
   * @param {(position: {epoch: string, after: number}) => Promise<FeedAnswer>} options.ask
   * @param {(name: string, data: any) => void} options.deliver
   * @param {() => void} options.startOver connect anew; everything was forgotten
   */
  constructor({ ask, deliver, startOver }) {
    this.#ask = ask;
    this.#deliver = deliver;
    this.#startOver = startOver;
  }

  /** @returns {{epoch: string, after: number}} */
  get position() {
    return this.#cursor.position;
  }

  /** @param {{epoch: string, recovered: boolean}} feed of a `session` */
  begin(feed) {
    this.#cursor.begin(feed);
  }

  /** Somebody else signed in: their feed is another. */
  forget() {
    this.#cursor.forget();
  }

  /** @param {string} name @param {any} data an event of the hub, of the feed or not */
  receive(name, data) {
    if (name === "feed_snapshot") this.#cursor.reset(data);
    const kept = name !== "feed_snapshot" && Number.isInteger(data?.seq);
    const verdict = kept ? this.#cursor.accept(data) : "new";
    if (verdict === "new") this.#deliver(name, data);
    if (verdict === "gap") this.#catchUp();
    if (verdict === "foreign") this.#abandon();
  }

  async #catchUp() {
    if (this.#catchingUp) return;
    this.#catchingUp = true;
    try {
      while (this.#cursor.behind) await this.#fetchMissed();
    } catch {
      this.#abandon(); // whatever it was, a snapshot says where we are
    } finally {
      this.#catchingUp = false;
    }
  }

  /** @throws {RangeError} the hub cannot close the gap */
  async #fetchMissed() {
    const { after } = this.position;
    const answer = await this.#ask(this.position);
    if (!answer?.recovered) throw new RangeError("the missed events are no longer kept");
    for (const { event, data, seq } of answer.events) this.receive(event, { ...data, seq });
    if (this.position.after === after) throw new RangeError("the hub sent nothing that was missed");
  }

  #abandon() {
    this.#cursor.forget();
    this.#startOver();
  }
}

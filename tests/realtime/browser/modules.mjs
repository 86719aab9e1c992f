// Where the modules under test are, and stand-ins for what a browser would give them.
const HOME = new URL("../../../realtime/static/realtime/", import.meta.url);

/** @param {string} name of a module of the console */
export const load = (name) => import(new URL(name, HOME));

/** A WebSocket that a test drives from the server's end. */
export class FakeWire {
  static last = null;
  static made = 0;
  readyState = 1;
  sent = [];

  constructor(url) {
    this.url = url;
    FakeWire.last = this;
    FakeWire.made += 1;
  }

  send(frame) {
    this.sent.push(frame);
  }

  close() {
    this.readyState = 3;
  }

  say(frame) {
    this.onmessage?.({ data: frame });
  }

  drop(code = 1006) {
    this.readyState = 3;
    this.onclose?.({ code });
  }
}

/** Let pending promises run, body readers included, without waiting for any timer. */
export async function settle() {
  for (let turn = 0; turn < 10; turn++) await new Promise((resolve) => setImmediate(resolve));
}

// @ts-check
/** A camera that turns around a world: pure state, moved by what hands and keys do. */

import { lookAt, multiply, perspective } from "./matrix.js";

/** @typedef {import("./matrix.js").Vector} Vector */

const FIELD_OF_VIEW = 0.8; // radians, vertical
const STEEPEST = 1.5; // just under straight down, where "up" loses its meaning
const FLATTEST = 0.02; // not below the ground
const KEY_TURN = 0.12;
const KEY_ZOOM = 1.12;

/** @type {Record<string, (camera: OrbitCamera) => void>} */
const KEYS = {
  ArrowLeft: (camera) => camera.turn(-KEY_TURN, 0),
  ArrowRight: (camera) => camera.turn(KEY_TURN, 0),
  ArrowUp: (camera) => camera.turn(0, KEY_TURN),
  ArrowDown: (camera) => camera.turn(0, -KEY_TURN),
  "+": (camera) => camera.zoom(1 / KEY_ZOOM),
  "=": (camera) => camera.zoom(1 / KEY_ZOOM),
  "-": (camera) => camera.zoom(KEY_ZOOM),
  Home: (camera) => camera.reset(),
};

export class OrbitCamera {
  yaw = 0;
  pitch = 0;
  distance = 1;
  /** @type {Vector} */
  target = [0, 0, 0];
  #radius;

  /** @param {{low: Vector, high: Vector}} bounds what to have in view */
  constructor({ low, high }) {
    this.target = [(low[0] + high[0]) / 2, low[1] + (high[1] - low[1]) * 0.36, (low[2] + high[2]) / 2];
    this.#radius = Math.hypot(high[0] - low[0], high[1] - low[1], high[2] - low[2]) / 2 || 1;
    this.reset();
  }

  /** Back to the first view: from the front, to the right and above. */
  reset() {
    this.yaw = 0.6;
    this.pitch = 0.42;
    this.distance = this.#radius / Math.sin(FIELD_OF_VIEW / 2) / 1.45;
  }

  /** @param {number} yaw radians to the right @param {number} pitch radians up */
  turn(yaw, pitch) {
    this.yaw += yaw;
    this.pitch = Math.min(STEEPEST, Math.max(FLATTEST, this.pitch + pitch));
  }

  /** @param {number} factor of the distance */
  zoom(factor) {
    const [nearest, farthest] = [this.#radius * 0.2, this.#radius * 8];
    this.distance = Math.min(farthest, Math.max(nearest, this.distance * factor));
  }

  /** @param {string} name as `KeyboardEvent.key` @returns {boolean} whether it means something */
  key(name) {
    KEYS[name]?.(this);
    return name in KEYS;
  }

  /** @returns {Vector} where the camera is */
  get eye() {
    const flat = this.distance * Math.cos(this.pitch);
    return [
      this.target[0] + flat * Math.sin(this.yaw),
      this.target[1] + this.distance * Math.sin(this.pitch),
      this.target[2] + flat * Math.cos(this.yaw),
    ];
  }

  /** @param {number} aspect width / height @returns {Float32Array} from world to clip space */
  matrix(aspect) {
    const far = this.distance + this.#radius * 4;
    const near = Math.max(this.#radius / 100, this.distance - this.#radius * 1.6); // keeps depth fine
    // In a narrow window the width must hold the world, so the field of view opens up.
    const fieldOfView = 2 * Math.atan(Math.tan(FIELD_OF_VIEW / 2) / Math.min(1, aspect * 0.9));
    const projection = perspective(fieldOfView, aspect, near, far);
    return multiply(projection, lookAt(this.eye, this.target));
  }
}

// @ts-check
/**
 * Draws a parsed world on a canvas with WebGL: a sky, a sun, soft light from above. It draws when
 * something has changed and at no other time.
 */

import { OrbitCamera } from "./camera.js";
import { normalMatrix } from "./matrix.js";

/** @typedef {import("./glb.js").World} World */
/** @typedef {import("./glb.js").Vector} Vector */
/** @typedef {WebGLRenderingContext | WebGL2RenderingContext} GL */
/**
 * @typedef {object} Drawable
 * @property {Float32Array} matrix
 * @property {Float32Array} normals
 * @property {Vector} color
 * @property {Vector} emissive
 * @property {WebGLBuffer} vertices positions, then normals
 * @property {number} normalsAt byte offset
 * @property {WebGLBuffer | null} indices
 * @property {number} count
 */

const TURN_PER_PIXEL = 0.008;
const ZOOM_PER_PIXEL = 0.0015;
const DENSEST = 2; // device pixels per CSS pixel; more costs and does not show
const SUN_SHARE = 0.3; // a sun of 3 lux, which files say for daylight, lights a white wall fully

/** Skies by symbol: at the horizon and at the top, sRGB. Others take the file's colour. */
/** @type {Record<string, [Vector, Vector]>} */
const SKIES = {
  clear_day: [[0.8, 0.91, 0.97], [0.35, 0.62, 0.9]],
  misty_morning: [[0.89, 0.92, 0.88], [0.53, 0.71, 0.78]],
  desert_noon: [[0.97, 0.9, 0.76], [0.42, 0.68, 0.87]],
  open_sea: [[0.78, 0.92, 0.96], [0.2, 0.53, 0.82]],
  ember_dusk: [[0.93, 0.5, 0.32], [0.2, 0.12, 0.26]],
};

const SCENE_VERTEX = `
attribute vec3 position; attribute vec3 normal;
uniform mat4 model; uniform mat4 camera; uniform mat3 turning;
varying vec3 facing; varying vec3 place;
void main() {
  vec4 world = model * vec4(position, 1.0);
  facing = turning * normal; place = world.xyz;
  gl_Position = camera * world;
}`;
const SCENE_FRAGMENT = `
precision mediump float;
varying vec3 facing; varying vec3 place;
uniform vec3 color, emissive, ambient, sunColor, sunDirection, eye, haze; uniform float hazeFrom;
void main() {
  vec3 normal = normalize(facing);
  vec3 toEye = normalize(eye - place);
  if (dot(normal, toEye) < 0.0) normal = -normal;
  vec3 sky = ambient * (0.72 + 0.45 * normal.y) + 0.06;
  vec3 sun = sunColor * max(dot(normal, -sunDirection), 0.0);
  vec3 halfway = normalize(toEye - sunDirection);
  float shine = pow(max(dot(normal, halfway), 0.0), 24.0) * 0.06;
  vec3 light = color * (sky + sun) + emissive + sunColor * shine;
  light = light / (1.0 + max(light - 0.8, 0.0));
  vec3 seen = pow(clamp(light, 0.0, 1.0), vec3(1.0 / 2.2));
  float far = clamp((distance(eye, place) - hazeFrom) / (hazeFrom * 2.5), 0.0, 0.55);
  gl_FragColor = vec4(mix(seen, haze, far), 1.0);
}`;
const SKY_VERTEX = `
attribute vec2 corner; varying float height;
void main() { height = corner.y * 0.5 + 0.5; gl_Position = vec4(corner, 0.999, 1.0); }`;
const SKY_FRAGMENT = `
precision mediump float;
varying float height; uniform vec3 horizon, top;
void main() { gl_FragColor = vec4(mix(horizon, top, smoothstep(0.3, 1.0, height)), 1.0); }`;

/** This browser has no WebGL, or has switched it off. */
export class NoWebGL extends Error {}

/** @param {HTMLCanvasElement} canvas @returns {GL} @throws {NoWebGL} */
function contextOf(canvas) {
  const options = { antialias: true, alpha: false };
  const found = canvas.getContext("webgl2", options) ?? canvas.getContext("webgl", options);
  const gl = /** @type {GL | null} */ (found);
  if (!gl) throw new NoWebGL("This browser has no WebGL, so the world cannot be shown in 3D here.");
  gl.getExtension("OES_element_index_uint"); // part of WebGL 2
  return gl;
}

/** @param {GL} gl @param {number} kind @param {string} source @returns {WebGLShader} */
function shader(gl, kind, source) {
  const made = /** @type {WebGLShader} */ (gl.createShader(kind));
  gl.shaderSource(made, source);
  gl.compileShader(made);
  return made;
}

/**
 * @param {GL} gl @param {string} vertex @param {string} fragment
 * @returns {WebGLProgram} @throws {NoWebGL}
 */
function link(gl, vertex, fragment) {
  const program = /** @type {WebGLProgram} */ (gl.createProgram());
  gl.attachShader(program, shader(gl, gl.VERTEX_SHADER, vertex));
  gl.attachShader(program, shader(gl, gl.FRAGMENT_SHADER, fragment));
  gl.linkProgram(program);
  if (gl.getProgramParameter(program, gl.LINK_STATUS)) return program;
  throw new NoWebGL(`The graphics driver refused a shader. ${gl.getProgramInfoLog(program) ?? ""}`);
}

/** @param {GL} gl @param {number} target @param {Float32Array | Uint32Array} data @returns {WebGLBuffer} */
function upload(gl, target, data) {
  const buffer = /** @type {WebGLBuffer} */ (gl.createBuffer());
  gl.bindBuffer(target, buffer);
  gl.bufferData(target, data, gl.STATIC_DRAW);
  return buffer;
}

/** @param {World["skybox"]} skybox @returns {[Vector, Vector]} horizon and top */
function skyOf(skybox) {
  if (!skybox) return SKIES.clear_day;
  const [red, green, blue] = skybox.color ?? [0.5, 0.6, 0.7];
  /** @type {Vector} */ const top = [0.2 + red * 0.4, 0.3 + green * 0.4, 0.4 + blue * 0.4];
  return SKIES[skybox.symbol] ?? [[0.85, 0.89, 0.92], top];
}

export class Viewer {
  #canvas;
  #gl;
  #world;
  #camera;
  #scene;
  #sky;
  #corners;
  /** @type {Drawable[]} */
  #drawables;
  /** @type {Map<WebGLProgram, Map<string, WebGLUniformLocation | null>>} */
  #places = new Map();
  /** @type {Map<number, {x: number, y: number}>} */
  #pointers = new Map();
  #frame = 0;
  #hands = new AbortController();
  #resize = new ResizeObserver(() => this.#schedule());

  /**
   * @param {HTMLCanvasElement} canvas
   * @param {World} world from `parseGlb`
   * @throws {NoWebGL}
   */
  constructor(canvas, world) {
    const gl = contextOf(canvas);
    this.#canvas = canvas;
    this.#gl = gl;
    this.#world = world;
    this.#camera = new OrbitCamera(world.bounds);
    this.#scene = link(gl, SCENE_VERTEX, SCENE_FRAGMENT);
    this.#sky = link(gl, SKY_VERTEX, SKY_FRAGMENT);
    this.#corners = upload(gl, gl.ARRAY_BUFFER, Float32Array.of(-1, -1, 3, -1, -1, 3));
    this.#drawables = world.nodes.flatMap((node) => this.#drawablesOf(node));
    this.#listen();
    this.draw();
  }

  /** Let go of the canvas and of the graphics memory. */
  close() {
    cancelAnimationFrame(this.#frame);
    this.#hands.abort();
    this.#resize.disconnect();
    this.#gl.getExtension("WEBGL_lose_context")?.loseContext();
  }

  /** @param {import("./glb.js").Drawn} node @returns {Drawable[]} */
  #drawablesOf({ matrix, primitives }) {
    return primitives.map(({ positions, normals, indices, color, emissive }) => {
      const gl = this.#gl;
      const both = new Float32Array(positions.length + normals.length);
      both.set(positions);
      both.set(normals, positions.length);
      return {
        matrix, color, emissive,
        normals: normalMatrix(matrix),
        vertices: upload(gl, gl.ARRAY_BUFFER, both),
        normalsAt: positions.byteLength,
        indices: indices && upload(gl, gl.ELEMENT_ARRAY_BUFFER, indices),
        count: indices ? indices.length : positions.length / 3,
      };
    });
  }

  // --- hands and keys -------------------------------------------------------------------------

  #listen() {
    const canvas = this.#canvas;
    const { signal } = this.#hands;
    canvas.addEventListener("pointerdown", (event) => this.#press(event), { signal });
    canvas.addEventListener("pointermove", (event) => this.#drag(event), { signal });
    for (const end of /** @type {const} */ (["pointerup", "pointercancel"])) {
      canvas.addEventListener(end, (event) => this.#pointers.delete(event.pointerId), { signal });
    }
    canvas.addEventListener("wheel", (event) => this.#roll(event), { signal, passive: false });
    canvas.addEventListener("keydown", (event) => this.#type(event), { signal });
    this.#resize.observe(canvas);
  }

  /** @param {PointerEvent} event */
  #press(event) {
    this.#canvas.setPointerCapture(event.pointerId);
    this.#pointers.set(event.pointerId, { x: event.clientX, y: event.clientY });
  }

  /** One pointer turns, two pinch. @param {PointerEvent} event */
  #drag(event) {
    const before = this.#pointers.get(event.pointerId);
    if (!before) return;
    const now = { x: event.clientX, y: event.clientY };
    const [other] = [...this.#pointers].filter(([id]) => id !== event.pointerId).map(([, at]) => at);
    this.#pointers.set(event.pointerId, now);
    if (other) this.#camera.zoom(apart(before, other) / Math.max(1, apart(now, other)));
    else this.#camera.turn((before.x - now.x) * TURN_PER_PIXEL, (now.y - before.y) * TURN_PER_PIXEL);
    this.#schedule();
  }

  /** @param {WheelEvent} event */
  #roll(event) {
    event.preventDefault();
    this.#camera.zoom(Math.exp(event.deltaY * ZOOM_PER_PIXEL));
    this.#schedule();
  }

  /** @param {KeyboardEvent} event */
  #type(event) {
    if (!this.#camera.key(event.key)) return;
    event.preventDefault();
    this.#schedule();
  }

  // --- drawing --------------------------------------------------------------------------------

  #schedule() {
    cancelAnimationFrame(this.#frame);
    this.#frame = requestAnimationFrame(() => this.draw());
  }

  /** Draw now. */
  draw() {
    const gl = this.#gl;
    this.#fit();
    gl.viewport(0, 0, this.#canvas.width, this.#canvas.height);
    gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
    this.#drawSky();
    this.#drawScene();
  }

  #fit() {
    const density = Math.min(devicePixelRatio, DENSEST);
    const width = Math.max(1, Math.round(this.#canvas.clientWidth * density));
    const height = Math.max(1, Math.round(this.#canvas.clientHeight * density));
    if (this.#canvas.width !== width) this.#canvas.width = width;
    if (this.#canvas.height !== height) this.#canvas.height = height;
  }

  #drawSky() {
    const gl = this.#gl;
    const [horizon, top] = skyOf(this.#world.skybox);
    gl.useProgram(this.#sky);
    gl.disable(gl.DEPTH_TEST);
    this.#setVectors(this.#sky, { horizon, top });
    this.#point(this.#sky, "corner", this.#corners, 2, 0);
    gl.drawArrays(gl.TRIANGLES, 0, 3);
  }

  #drawScene() {
    const gl = this.#gl;
    const { sun, ambient, skybox } = this.#world;
    const sunColor = /** @type {Vector} */ (sun.color.map((part) => part * SUN_SHARE));
    const { eye, distance } = this.#camera;
    const [haze] = skyOf(skybox);
    gl.useProgram(this.#scene);
    gl.enable(gl.DEPTH_TEST);
    this.#setVectors(this.#scene, { ambient, sunColor, sunDirection: sun.direction, eye, haze });
    gl.uniform1f(this.#place(this.#scene, "hazeFrom"), distance * 1.1);
    const camera = this.#camera.matrix(this.#canvas.width / this.#canvas.height);
    gl.uniformMatrix4fv(this.#place(this.#scene, "camera"), false, camera);
    for (const drawable of this.#drawables) this.#drawOne(drawable);
  }

  /** @param {Drawable} drawable */
  #drawOne({ matrix, normals, color, emissive, vertices, normalsAt, indices, count }) {
    const gl = this.#gl;
    gl.uniformMatrix4fv(this.#place(this.#scene, "model"), false, matrix);
    gl.uniformMatrix3fv(this.#place(this.#scene, "turning"), false, normals);
    this.#setVectors(this.#scene, { color, emissive });
    this.#point(this.#scene, "position", vertices, 3, 0);
    this.#point(this.#scene, "normal", vertices, 3, normalsAt);
    if (!indices) return gl.drawArrays(gl.TRIANGLES, 0, count);
    gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, indices);
    gl.drawElements(gl.TRIANGLES, count, gl.UNSIGNED_INT, 0);
  }

  /** @param {WebGLProgram} program @param {string} name */
  #place(program, name) {
    const places = this.#places.get(program) ?? new Map();
    this.#places.set(program, places);
    if (!places.has(name)) places.set(name, this.#gl.getUniformLocation(program, name));
    return places.get(name);
  }

  /** @param {WebGLProgram} program @param {Record<string, Vector>} vectors */
  #setVectors(program, vectors) {
    for (const [name, vector] of Object.entries(vectors)) {
      this.#gl.uniform3fv(this.#place(program, name), vector);
    }
  }

  /**
   * @param {WebGLProgram} program @param {string} name
   * @param {WebGLBuffer} buffer @param {number} size floats per vertex @param {number} offset bytes
   */
  #point(program, name, buffer, size, offset) {
    const gl = this.#gl;
    const index = gl.getAttribLocation(program, name);
    gl.bindBuffer(gl.ARRAY_BUFFER, buffer);
    gl.enableVertexAttribArray(index);
    gl.vertexAttribPointer(index, size, gl.FLOAT, false, 0, offset);
  }
}

/** @param {{x: number, y: number}} one @param {{x: number, y: number}} other @returns {number} */
function apart(one, other) {
  return Math.hypot(one.x - other.x, one.y - other.y);
}

// @ts-check
/**
 * A reader of binary glTF 2.0 (Khronos glTF 2.0, sections 3 and 4.4): bytes in, a flat list of
 * things to draw out. Pure: no WebGL, no DOM. It reads what a world needs (nodes with TRS or
 * matrix, triangles, plain materials, KHR_lights_punctual, the scene's extras) and ignores
 * textures, skins and animations. A file that is broken raises `GlbError` and nothing else.
 */

import { compose, identity, multiply, transformDirection, transformPoint, unit } from "./matrix.js";

/** @typedef {import("./matrix.js").Matrix} Matrix */
/** @typedef {[number, number, number]} Vector */
/**
 * @typedef {object} Primitive
 * @property {Float32Array} positions three per vertex
 * @property {Float32Array} normals three per vertex
 * @property {Uint32Array | null} indices null: vertices in order
 * @property {Vector} color linear RGB
 * @property {Vector} emissive linear RGB
 */
/**
 * @typedef {object} Drawn
 * @property {string} name
 * @property {Matrix} matrix to world space
 * @property {Primitive[]} primitives
 */
/**
 * @typedef {object} World
 * @property {Drawn[]} nodes only those that have a mesh
 * @property {{direction: Vector, color: Vector}} sun where its light goes to; colour times strength
 * @property {Vector} ambient
 * @property {{symbol: string, color: Vector} | null} skybox
 * @property {{low: Vector, high: Vector}} bounds
 */

const MAGIC = 0x46546c67;
const JSON_CHUNK = 0x4e4f534a;
const BINARY_CHUNK = 0x004e4942;
const TRIANGLES = 4;
const DEEPEST = 64; // a cycle of nodes is a broken file, not an endless loop
/** @type {Record<number, [number, "getUint8" | "getUint16" | "getUint32" | "getFloat32"]>} */
const COMPONENTS = {
  5121: [1, "getUint8"], 5123: [2, "getUint16"], 5125: [4, "getUint32"], 5126: [4, "getFloat32"],
};
/** @type {Record<string, number>} */
const WIDTHS = { SCALAR: 1, VEC2: 2, VEC3: 3, VEC4: 4 };
/** @type {Vector} */
const DEFAULT_AMBIENT = [0.35, 0.37, 0.42];
/** @type {World["sun"]} */
const DEFAULT_SUN = { direction: [-0.4, -0.8, -0.45], color: [1, 0.97, 0.9] };

/** The file is not binary glTF 2.0, or contradicts itself. */
export class GlbError extends Error {}

/**
 * @param {ArrayBuffer} buffer
 * @returns {World}
 * @throws {GlbError}
 */
export function parseGlb(buffer) {
  try {
    const { json, binary } = readChunks(buffer);
    return readWorld(json, binary);
  } catch (error) {
    if (error instanceof GlbError) throw error;
    throw new GlbError(`not a readable GLB file: ${/** @type {Error} */ (error).message}`);
  }
}

/** @param {ArrayBuffer} buffer @returns {{json: any, binary: DataView}} */
function readChunks(buffer) {
  const view = new DataView(buffer);
  if (view.byteLength < 20 || view.getUint32(0, true) !== MAGIC) throw new GlbError("not a GLB file");
  if (view.getUint32(4, true) !== 2) throw new GlbError("not version 2 of GLB");
  const end = view.getUint32(8, true);
  if (end > view.byteLength) throw new GlbError("the file is cut short");
  const chunks = new Map();
  for (let at = 12; at + 8 <= end; ) {
    const size = view.getUint32(at, true);
    if (at + 8 + size > end) throw new GlbError("a chunk is cut short");
    chunks.set(view.getUint32(at + 4, true), new DataView(buffer, at + 8, size));
    at += 8 + size;
  }
  const binary = chunks.get(BINARY_CHUNK) ?? new DataView(new ArrayBuffer(0));
  return { json: parseJson(chunks.get(JSON_CHUNK)), binary };
}

/** @param {DataView | undefined} chunk @returns {any} */
function parseJson(chunk) {
  if (!chunk) throw new GlbError("there is no JSON chunk");
  return JSON.parse(new TextDecoder().decode(chunk));
}

/** @param {any} json @param {DataView} binary @returns {World} */
function readWorld(json, binary) {
  const scene = json.scenes?.[json.scene ?? 0] ?? { nodes: [] };
  const placed = [...walk(json, scene.nodes ?? [], identity(), 0)];
  const nodes = placed.filter(({ node }) => node.mesh !== undefined).map((at) => drawn(json, binary, at));
  const { ambientLight, skybox } = scene.extras ?? {};
  return {
    nodes,
    sun: findSun(json, placed),
    ambient: ambientLight ?? DEFAULT_AMBIENT,
    skybox: skybox?.symbol ? skybox : null,
    bounds: boundsOf(nodes),
  };
}

/**
 * @param {any} json @param {number[]} indices @param {Matrix} parent @param {number} depth
 * @returns {Generator<{node: any, matrix: Matrix}>}
 */
function* walk(json, indices, parent, depth) {
  if (depth > DEEPEST) throw new GlbError("nodes are nested in a circle");
  for (const index of indices) {
    const node = json.nodes[index];
    const matrix = multiply(parent, node.matrix ? Float32Array.from(node.matrix) : compose(node));
    yield { node, matrix };
    yield* walk(json, node.children ?? [], matrix, depth + 1);
  }
}

/** @param {any} json @param {DataView} binary @param {{node: any, matrix: Matrix}} at @returns {Drawn} */
function drawn(json, binary, { node, matrix }) {
  const primitives = json.meshes[node.mesh].primitives
    .filter((/** @type {any} */ { mode = TRIANGLES }) => mode === TRIANGLES)
    .map((/** @type {any} */ primitive) => readPrimitive(json, binary, primitive));
  return { name: node.name ?? "", matrix, primitives };
}

/** @param {any} json @param {DataView} binary @param {any} primitive @returns {Primitive} */
function readPrimitive(json, binary, { attributes, indices, material }) {
  const positions = Float32Array.from(readAccessor(json, binary, attributes.POSITION));
  const corners = indices === undefined ? null : Uint32Array.from(readAccessor(json, binary, indices));
  if (corners?.some((corner) => corner * 3 >= positions.length)) throw new GlbError("an index has no vertex");
  const look = json.materials?.[material] ?? {};
  const [red, green, blue] = look.pbrMetallicRoughness?.baseColorFactor ?? [1, 1, 1];
  /** @type {Vector} */ const color = [red, green, blue];
  const surface = { color, emissive: look.emissiveFactor ?? [0, 0, 0] };
  if (attributes.NORMAL === undefined) return { ...flatShaded(positions, corners), ...surface };
  const normals = Float32Array.from(readAccessor(json, binary, attributes.NORMAL));
  return { positions, normals, indices: corners, ...surface };
}

/** @param {any} json @param {DataView} binary @param {number} index @returns {number[]} */
function readAccessor(json, binary, index) {
  const { bufferView, byteOffset = 0, componentType, count, type } = json.accessors[index];
  const [size, read] = COMPONENTS[componentType];
  const width = WIDTHS[type];
  const { byteOffset: start = 0, byteStride = size * width } = json.bufferViews[bufferView];
  const numbers = new Array(count * width);
  for (let item = 0; item < count; item++) {
    for (let part = 0; part < width; part++) {
      numbers[item * width + part] = binary[read](start + byteOffset + item * byteStride + part * size, true);
    }
  }
  return numbers;
}

/**
 * Section 3.7.2.1: without normals, a client calculates flat ones.
 * @param {Float32Array} positions @param {Uint32Array | null} indices
 * @returns {{positions: Float32Array, normals: Float32Array, indices: null}}
 */
function flatShaded(positions, indices) {
  const corners = indices ?? positions.map((_, index) => index).subarray(0, positions.length / 3);
  const points = Array.from(corners, (corner) => positions.subarray(corner * 3, corner * 3 + 3));
  const normals = points.flatMap((_, index) => {
    const first = index - (index % 3);
    return faceNormal(points[first], points[first + 1], points[first + 2]);
  });
  const spread = Float32Array.from(points.flatMap((point) => [...point]));
  return { positions: spread, normals: Float32Array.from(normals), indices: null };
}

/** @param {Float32Array} a @param {Float32Array} b @param {Float32Array} c @returns {Vector} */
function faceNormal(a, b, c) {
  const [ux, uy, uz] = [b[0] - a[0], b[1] - a[1], b[2] - a[2]];
  const [vx, vy, vz] = [c[0] - a[0], c[1] - a[1], c[2] - a[2]];
  const normal = [uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx];
  const length = Math.hypot(...normal) || 1;
  return [normal[0] / length, normal[1] / length, normal[2] / length];
}

/** @param {any} json @param {{node: any, matrix: Matrix}[]} placed @returns {World["sun"]} */
function findSun(json, placed) {
  const lights = json.extensions?.KHR_lights_punctual?.lights ?? [];
  for (const { node, matrix } of placed) {
    const light = lights[node.extensions?.KHR_lights_punctual?.light];
    if (light?.type !== "directional") continue;
    const { color: tint = [1, 1, 1], intensity = 1 } = light;
    const color = tint.map((/** @type {number} */ part) => part * intensity);
    return { direction: unit(transformDirection(matrix, [0, 0, -1])), color }; // light shines along -Z
  }
  return DEFAULT_SUN;
}

/** @param {Drawn[]} nodes @returns {World["bounds"]} of all vertices in world space */
function boundsOf(nodes) {
  /** @type {Vector} */ const low = [Infinity, Infinity, Infinity];
  /** @type {Vector} */ const high = [-Infinity, -Infinity, -Infinity];
  for (const { matrix, primitives } of nodes) {
    for (const { positions } of primitives) {
      for (let at = 0; at < positions.length; at += 3) {
        const point = transformPoint(matrix, [positions[at], positions[at + 1], positions[at + 2]]);
        for (const axis of [0, 1, 2]) {
          low[axis] = Math.min(low[axis], point[axis]);
          high[axis] = Math.max(high[axis], point[axis]);
        }
      }
    }
  }
  return low[0] > high[0] ? { low: [-1, -1, -1], high: [1, 1, 1] } : { low, high };
}

import assert from "node:assert/strict";
import { test } from "node:test";
import { load } from "./modules.mjs";

const { GlbError, parseGlb } = await load("glb.js");
const { OrbitCamera } = await load("camera.js");
const TRIANGLE = [0, 0, 0, 1, 0, 0, 0, 1, 0];

/** A GLB file around `json`, which has the triangle as accessor 0 and its corners as accessor 1. */
function glb(json, { version = 2 } = {}) {
  const binary = new Uint8Array(44);
  binary.set(new Uint8Array(Float32Array.from(TRIANGLE).buffer));
  binary.set(new Uint8Array(Uint16Array.of(0, 1, 2).buffer), 36);
  const text = new TextEncoder().encode(JSON.stringify(json).padEnd(Math.ceil(JSON.stringify(json).length / 4) * 4));
  const file = new Uint8Array(12 + 8 + text.length + 8 + binary.length);
  const view = new DataView(file.buffer);
  [0x46546c67, version, file.length, text.length, 0x4e4f534a].forEach((word, at) => view.setUint32(at * 4, word, true));
  file.set(text, 20);
  view.setUint32(20 + text.length, binary.length, true);
  view.setUint32(24 + text.length, 0x004e4942, true);
  file.set(binary, 28 + text.length);
  return file.buffer;
}

function document(rest = {}) {
  return {
    asset: { version: "2.0" },
    scene: 0,
    scenes: [{ nodes: [0, 1], extras: { ambientLight: [0.1, 0.2, 0.3], skybox: { symbol: "clear_day", color: [0, 0, 1] } } }],
    nodes: [
      { name: "tree", mesh: 0, translation: [10, 0, 0], scale: [2, 2, 2] },
      { name: "sun", rotation: [-Math.SQRT1_2, 0, 0, Math.SQRT1_2], extensions: { KHR_lights_punctual: { light: 0 } } },
    ],
    extensions: { KHR_lights_punctual: { lights: [{ type: "directional", color: [1, 0.5, 0], intensity: 2 }] } },
    meshes: [{ primitives: [{ attributes: { POSITION: 0 }, indices: 1, material: 0 }] }],
    materials: [{ pbrMetallicRoughness: { baseColorFactor: [0.2, 0.4, 0.6, 1] }, emissiveFactor: [0.1, 0, 0] }],
    accessors: [
      { bufferView: 0, componentType: 5126, count: 3, type: "VEC3" },
      { bufferView: 1, componentType: 5123, count: 3, type: "SCALAR" },
    ],
    bufferViews: [{ buffer: 0, byteOffset: 0, byteLength: 36 }, { buffer: 0, byteOffset: 36, byteLength: 6 }],
    buffers: [{ byteLength: 44 }],
    ...rest,
  };
}

const near = (seen, expected) => seen.forEach((part, at) => assert.ok(Math.abs(part - expected[at]) < 1e-6, `${seen}`));

test("only nodes with a mesh are drawn, with name, colour and place", () => {
  const { nodes, bounds } = parseGlb(glb(document()));
  assert.deepEqual(nodes.map(({ name }) => name), ["tree"]);
  near(nodes[0].primitives[0].color, [0.2, 0.4, 0.6]);
  near(nodes[0].primitives[0].emissive, [0.1, 0, 0]);
  assert.deepEqual(bounds, { low: [10, 0, 0], high: [12, 2, 0] });
});

test("missing normals are made flat, counter-clockwise in front", () => {
  const [primitive] = parseGlb(glb(document())).nodes[0].primitives;
  near([...primitive.normals], [0, 0, 1, 0, 0, 1, 0, 0, 1]);
});

test("given normals and indices are kept", () => {
  const meshes = [{ primitives: [{ attributes: { POSITION: 0, NORMAL: 0 }, indices: 1 }] }];
  const [primitive] = parseGlb(glb(document({ meshes }))).nodes[0].primitives;
  assert.deepEqual([...primitive.indices], [0, 1, 2]);
  assert.deepEqual([...primitive.normals], TRIANGLE);
  assert.deepEqual(primitive.color, [1, 1, 1]);
});

test("the sun shines along its node's -Z, and the air is as the scene says", () => {
  const { sun, ambient, skybox } = parseGlb(glb(document()));
  near(sun.direction, [0, -1, 0]);
  assert.deepEqual([sun.color, ambient, skybox.symbol], [[2, 1, 0], [0.1, 0.2, 0.3], "clear_day"]);
});

test("a child stands where its parent puts it", () => {
  const nodes = [{ name: "parent", translation: [0, 5, 0], children: [1] }, { name: "child", mesh: 0, translation: [1, 0, 0] }];
  const { bounds } = parseGlb(glb(document({ nodes, scenes: [{ nodes: [0] }] })));
  assert.deepEqual(bounds.low, [1, 5, 0]);
});

test("without lights and extras there is daylight all the same", () => {
  const { sun, ambient, skybox } = parseGlb(glb(document({ extensions: undefined, scenes: [{ nodes: [0] }] })));
  assert.ok(sun.direction[1] < 0 && ambient[0] > 0);
  assert.equal(skybox, null);
});

test("broken files raise GlbError and nothing else", () => {
  const whole = glb(document());
  const circle = document({ nodes: [{ children: [0] }], scenes: [{ nodes: [0] }] });
  const strayIndex = document({ accessors: [{ bufferView: 0, componentType: 5126, count: 1, type: "VEC3" }, document().accessors[1]] });
  const broken = [
    new ArrayBuffer(0), new ArrayBuffer(64), whole.slice(0, whole.byteLength - 4), glb(document(), { version: 1 }),
    glb(circle), glb(strayIndex), glb(document({ accessors: [] })), glb(document({ meshes: [] })),
    glb(document({ accessors: [{ ...document().accessors[0], count: 1e6 }, document().accessors[1]] })),
  ];
  for (const file of broken) assert.throws(() => parseGlb(file), GlbError);
});

test("the camera never goes under the ground or through the zenith", () => {
  const camera = new OrbitCamera({ low: [-1, 0, -1], high: [1, 2, 1] });
  camera.turn(0, -10);
  assert.ok(camera.eye[1] > camera.target[1]);
  camera.turn(0, 10);
  assert.ok(camera.pitch < Math.PI / 2);
  assert.equal(camera.key("ArrowLeft"), true);
  assert.equal(camera.key("q"), false);
});

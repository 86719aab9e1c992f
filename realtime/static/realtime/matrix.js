// @ts-check
/** The few 4x4 matrices that drawing a world takes; column-major as in glTF and WebGL. Pure. */

/** @typedef {Float32Array} Matrix */
/** @typedef {[number, number, number]} Vector */

/** @returns {Matrix} */
export function identity() {
  return Float32Array.of(1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1);
}

/** @param {Matrix} a @param {Matrix} b @returns {Matrix} a * b */
export function multiply(a, b) {
  const product = new Float32Array(16);
  for (let column = 0; column < 4; column++) {
    for (let row = 0; row < 4; row++) {
      let sum = 0;
      for (let k = 0; k < 4; k++) sum += a[k * 4 + row] * b[column * 4 + k];
      product[column * 4 + row] = sum;
    }
  }
  return product;
}

/**
 * @param {{translation?: number[], rotation?: number[], scale?: number[]}} node a glTF node
 * @returns {Matrix} T * R * S
 */
export function compose({ translation = [0, 0, 0], rotation = [0, 0, 0, 1], scale = [1, 1, 1] }) {
  const [x, y, z, w] = rotation;
  const [sx, sy, sz] = scale;
  return Float32Array.of(
    (1 - 2 * (y * y + z * z)) * sx, 2 * (x * y + z * w) * sx, 2 * (x * z - y * w) * sx, 0,
    2 * (x * y - z * w) * sy, (1 - 2 * (x * x + z * z)) * sy, 2 * (y * z + x * w) * sy, 0,
    2 * (x * z + y * w) * sz, 2 * (y * z - x * w) * sz, (1 - 2 * (x * x + y * y)) * sz, 0,
    translation[0], translation[1], translation[2], 1,
  );
}

/** @param {Matrix} m @param {Vector} point @returns {Vector} */
export function transformPoint(m, [x, y, z]) {
  const [dx, dy, dz] = transformDirection(m, [x, y, z]);
  return [dx + m[12], dy + m[13], dz + m[14]];
}

/** @param {Matrix} m @param {Vector} direction @returns {Vector} */
export function transformDirection(m, [x, y, z]) {
  return [
    m[0] * x + m[4] * y + m[8] * z,
    m[1] * x + m[5] * y + m[9] * z,
    m[2] * x + m[6] * y + m[10] * z,
  ];
}

/**
 * The cofactors of the upper 3x3: what turns normals, also under uneven scale, up to length.
 * @param {Matrix} m
 * @returns {Float32Array} 3x3
 */
export function normalMatrix(m) {
  const [a, b, c, d, e, f, g, h, i] = [m[0], m[1], m[2], m[4], m[5], m[6], m[8], m[9], m[10]];
  return Float32Array.of(
    e * i - f * h, f * g - d * i, d * h - e * g,
    c * h - b * i, a * i - c * g, b * g - a * h,
    b * f - c * e, c * d - a * f, a * e - b * d,
  );
}

/**
 * @param {number} fieldOfView vertical, radians
 * @param {number} aspect width / height
 * @param {number} near
 * @param {number} far
 * @returns {Matrix}
 */
export function perspective(fieldOfView, aspect, near, far) {
  const zoom = 1 / Math.tan(fieldOfView / 2);
  const depth = 1 / (near - far);
  return Float32Array.of(
    zoom / aspect, 0, 0, 0, 0, zoom, 0, 0, 0, 0, (far + near) * depth, -1, 0, 0, 2 * far * near * depth, 0,
  );
}

/** @param {Vector} eye @param {Vector} target @returns {Matrix} with Y up */
export function lookAt(eye, target) {
  const back = unit([eye[0] - target[0], eye[1] - target[1], eye[2] - target[2]]);
  const right = unit([back[2], 0, -back[0]]); // Y x back
  const up = [
    back[1] * right[2] - back[2] * right[1],
    back[2] * right[0] - back[0] * right[2],
    back[0] * right[1] - back[1] * right[0],
  ];
  return Float32Array.of(
    right[0], up[0], back[0], 0, right[1], up[1], back[1], 0, right[2], up[2], back[2], 0,
    -dot(right, eye), -dot(up, eye), -dot(back, eye), 1,
  );
}

/** @param {number[]} a @param {number[]} b */
function dot(a, b) {
  return a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
}

/** @param {Vector} vector @returns {Vector} of length 1 */
export function unit([x, y, z]) {
  const length = Math.hypot(x, y, z) || 1;
  return [x / length, y / length, z / length];
}

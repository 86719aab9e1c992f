// @ts-check
/**
 * The hub's key schedule and message signature on WebCrypto: HKDF-SHA256 to one HMAC key per
 * socket and direction, HMAC-SHA256 over length-prefixed fields. It holds no session and does
 * no I/O. The secret enters as text once and is never readable again: every key made here is
 * non-extractable.
 */

import { Unsupported } from "./errors.js";

/** @typedef {"c2s" | "s2c"} Direction */
/**
 * @typedef {object} SocketIdentity
 * @property {string} serverNonce base64url, 32 bytes
 * @property {string} clientNonce base64url, 0 or 32 bytes
 * @property {string} namespace
 * @property {string} principal `user:<id>`
 * @property {string} sid the Socket.IO id on that namespace
 * @property {Direction} direction
 */
/**
 * @typedef {object} Message
 * @property {string} type
 * @property {string} payload JSON text, signed exactly as it is sent
 * @property {number} ts integer milliseconds since the epoch
 * @property {string} nonce
 */

const NONCE_BYTES = 32;
const KEY_BITS = 256; // WebCrypto's default for SHA-256 is the block size, 512
const text = new TextEncoder();

/** @returns {SubtleCrypto} @throws {Unsupported} outside a secure context */
function subtle() {
  const found = globalThis.crypto?.subtle;
  if (!found) {
    throw new Unsupported(
      "insecure_context",
      "Signing needs WebCrypto, which browsers offer only over HTTPS or on localhost.",
    );
  }
  return found;
}

/** @returns {boolean} whether this page can sign at all */
export function canSign() {
  return Boolean(globalThis.crypto?.subtle);
}

/** @param {Uint8Array} bytes @returns {string} base64url without padding */
export function toBase64url(bytes) {
  const latin1 = Array.from(bytes, (byte) => String.fromCharCode(byte)).join("");
  return btoa(latin1).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
}

/** @param {string} encoded base64url without padding @returns {Uint8Array<ArrayBuffer>} */
export function fromBase64url(encoded) {
  const latin1 = atob(encoded.replaceAll("-", "+").replaceAll("_", "/"));
  return Uint8Array.from(latin1, (character) => character.charCodeAt(0));
}

/** @param {Uint8Array} bytes @returns {string} lower-case hex */
export function toHex(bytes) {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** @returns {string} 32 random bytes as base64url: a nonce, or a `client_nonce` */
export function randomNonce() {
  return toBase64url(crypto.getRandomValues(new Uint8Array(NONCE_BYTES)));
}

/** @param {Uint8Array[]} parts @returns {Uint8Array<ArrayBuffer>} */
function concat(parts) {
  const whole = new Uint8Array(parts.reduce((size, part) => size + part.length, 0));
  let offset = 0;
  for (const part of parts) {
    whole.set(part, offset);
    offset += part.length;
  }
  return whole;
}

/** @param {string} field @returns {Uint8Array} uint32be(length) || UTF-8 bytes */
function lengthPrefixed(field) {
  const bytes = text.encode(field);
  const prefix = new Uint8Array(4);
  new DataView(prefix.buffer).setUint32(0, bytes.length);
  return concat([prefix, bytes]);
}

/** @param {...string} fields @returns {Uint8Array<ArrayBuffer>} the `enc(..)` of the schedule */
export function encodeFields(...fields) {
  return concat(fields.map(lengthPrefixed));
}

/**
 * @param {string} secret base64url, as `/api/token/` answers it; the caller drops the text now
 * @returns {Promise<CryptoKey>} non-extractable, good for deriving socket keys only
 * @throws {Unsupported}
 */
export async function importSecret(secret) {
  return subtle().importKey("raw", fromBase64url(secret), "HKDF", false, ["deriveKey"]);
}

/**
 * @param {CryptoKey} secretKey from `importSecret`
 * @param {SocketIdentity} identity
 * @returns {Promise<CryptoKey>} non-extractable HMAC key of one socket and direction
 */
export async function deriveSocketKey(secretKey, identity) {
  const { namespace, principal, sid, direction } = identity;
  const hkdf = {
    name: "HKDF",
    hash: "SHA-256",
    salt: concat([fromBase64url(identity.serverNonce), fromBase64url(identity.clientNonce)]),
    info: encodeFields("hub/v1/socket", namespace, principal, sid, direction),
  };
  const hmac = { name: "HMAC", hash: "SHA-256", length: KEY_BITS };
  return subtle().deriveKey(hkdf, secretKey, hmac, false, ["sign"]);
}

/**
 * @param {Pick<SocketIdentity, "direction" | "namespace" | "principal" | "sid">} socket
 * @param {Message} message
 * @returns {Uint8Array<ArrayBuffer>} the bytes that are signed
 */
export function macInput({ direction, namespace, principal, sid }, { type, payload, ts, nonce }) {
  const fields = [direction, namespace, type, principal, sid, String(ts), nonce, payload];
  return concat([text.encode("HUB1"), encodeFields(...fields)]);
}

/**
 * @param {CryptoKey} key from `deriveSocketKey`
 * @param {Uint8Array<ArrayBuffer>} input from `macInput`
 * @returns {Promise<string>} lower-case hex
 */
export async function signature(key, input) {
  return toHex(new Uint8Array(await subtle().sign("HMAC", key, input)));
}

/** Signs for one socket in one direction; worthless once that socket is gone. */
export class Signer {
  #key;
  #identity;

  /** @param {CryptoKey} key @param {SocketIdentity} identity */
  constructor(key, identity) {
    this.#key = key;
    this.#identity = identity;
  }

  /** @param {CryptoKey} secretKey @param {SocketIdentity} identity @returns {Promise<Signer>} */
  static async forSocket(secretKey, identity) {
    return new Signer(await deriveSocketKey(secretKey, identity), identity);
  }

  /** @param {Message} message @returns {Promise<string>} `sig`, 64 lower-case hex digits */
  async sign(message) {
    return signature(this.#key, macInput(this.#identity, message));
  }
}

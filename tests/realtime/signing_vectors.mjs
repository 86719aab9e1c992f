// Reproduces every vector of the contract with the browser's own signing module.
// Prints one JSON object: how many of each kind agreed, and which did not.
import { readFile } from "node:fs/promises";

const [vectorsPath, modulePath] = process.argv.slice(2);
const signing = await import(modulePath);
const vectors = JSON.parse(await readFile(vectorsPath, "utf8"));
const probe = new TextEncoder().encode("the same key signs the same");
const disagreements = [];
const agreed = { keys: 0, mac_inputs: 0, signatures: 0 };

/** Raw key material as an HMAC key, to compare with keys that cannot be read. */
function hmacKey(encoded) {
  const algorithm = { name: "HMAC", hash: "SHA-256" };
  return crypto.subtle.importKey("raw", signing.fromBase64url(encoded), algorithm, false, ["sign"]);
}

function judge(kind, name, seen, expected) {
  if (seen === expected) agreed[kind] += 1;
  else disagreements.push({ kind, name, seen, expected });
}

async function judgeSchedule(row) {
  const secret = await signing.importSecret(row.secret);
  for (const direction of ["c2s", "s2c"]) {
    const identity = {
      serverNonce: row.server_nonce, clientNonce: row.client_nonce,
      namespace: row.namespace, principal: row.principal, sid: row.sid, direction,
    };
    const derived = await signing.deriveSocketKey(secret, identity);
    if (derived.extractable || secret.extractable) disagreements.push({ kind: "extractable", name: row.sid });
    const expected = await hmacKey(row[`key_${direction}`]);
    const name = `${row.principal} ${direction}`;
    judge("keys", name, await signing.signature(derived, probe), await signing.signature(expected, probe));
  }
}

async function judgeSignature(row) {
  if (row.mac_input_hex) judge("mac_inputs", row.nonce, signing.toHex(signing.macInput(row, row)), row.mac_input_hex);
  const signer = new signing.Signer(await hmacKey(row.key), row);
  judge("signatures", row.nonce, await signer.sign(row), row.sig_hex);
}

for (const row of vectors.key_schedule) await judgeSchedule(row);
for (const row of vectors.signatures) await judgeSignature(row);
console.log(JSON.stringify({ agreed, disagreements }));

// Opens Evergrant's sealed bytes; see sealed-format.md. Needs Node 16 or newer and nothing else.
//   import { openSealed, parseRing } from "./open-sealed.mjs"
//   node open-sealed.mjs TABLE ROW_ID PURPOSE HEX      with the key ring in EVERGRANT_ACCESS_TOKEN_KEYS
import { createDecipheriv, hkdfSync } from "node:crypto";
import { pathToFileURL } from "node:url";

export const parseRing = (text) => new Map(text.split(/\r?\n/).map((line) => line.trim())
  .filter((line) => line && !line.startsWith("#"))
  .map((line) => [line.slice(0, line.indexOf(":")), Buffer.from(line.slice(line.indexOf(":") + 1), "base64")]));

export function openSealed(ring, sealed, table, rowId, purpose) {
  if (sealed[0] !== 1) throw new Error("not sealed bytes of version 1");
  const start = 2 + sealed[1];
  const keyId = sealed.toString("ascii", 2, start);
  if (!ring.has(keyId)) throw new Error(`the key ${keyId} is not in the ring`);
  const place = `${table}:${rowId}:${purpose}`;
  const key = Buffer.from(hkdfSync("sha256", ring.get(keyId), "", place, 32));
  const cipher = createDecipheriv("aes-256-gcm", key, sealed.subarray(start, start + 12), { authTagLength: 16 });
  cipher.setAAD(Buffer.from(`${place}:${keyId}`)).setAuthTag(sealed.subarray(-16));
  return Buffer.concat([cipher.update(sealed.subarray(start + 12, -16)), cipher.final()]).toString("utf8");
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  const [table, rowId, purpose, hex] = process.argv.slice(2);
  const ring = parseRing(process.env.EVERGRANT_ACCESS_TOKEN_KEYS ?? "");
  process.stdout.write(openSealed(ring, Buffer.from(hex, "hex"), table, rowId, purpose));
}

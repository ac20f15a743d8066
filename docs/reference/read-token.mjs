// Reads a token, reports one that the API answered 401, or revokes, over SQL: from Node with nothing else installed,
// `psql` speaks to the database.
// With the package `pg` only `query` changes.
//   node read-token.mjs token REF | rejected REF GENERATION | revoke REF REASON
// The database is named by libpq's variables (PGHOST, PGUSER, PGPASSWORD, …), the key ring by EVERGRANT_ACCESS_TOKEN_KEYS.
import { execFileSync } from "node:child_process";
import { openSealed, parseRing } from "./open-sealed.mjs";

function query(sql, ...values) {
  const named = values.flatMap((value, i) => ["-v", `v${i + 1}=${value}`]);
  const program = sql.replace(/\$(\d+)/g, ":'v$1'");
  const options = ["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-f", "-"];
  return execFileSync("psql", [...options, ...named], { input: program, encoding: "utf8" }).trim();
}

function token(ref) {
  const row = query(
    "select json_build_object('id', grant_id, 'status', status, 'sealed', encode(sealed_access_token, 'hex')) " +
      "from evergrant.access_tokens where ref = $1 and status <> 'revoked'", ref);
  if (!row) throw new Error(`unknown ref ${ref}`);
  const { id, status, sealed } = JSON.parse(row);
  if (!sealed) throw new Error(`no token may be handed out: the grant is ${status}`);
  const ring = parseRing(process.env.EVERGRANT_ACCESS_TOKEN_KEYS ?? "");
  return openSealed(ring, Buffer.from(sealed, "hex"), "grants", id, "access");
}

const commands = {
  token,
  rejected: (ref, generation) =>
    query("select evergrant.request_refresh($1, if_generation => $2::bigint)", ref, generation),
  revoke: (ref, reason) => query("select evergrant.request_revocation($1, reason => $2)", ref, reason),
};
const [command, ...rest] = process.argv.slice(2);
console.log(commands[command](...rest));

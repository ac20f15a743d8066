// Shows a customer's bookings: an access token from Evergrant's token interface, then the bookings API. See README.md.
//   node bookings.mjs REF
// Exit codes: 0 done · 1 failed · 2 wrong usage · 3 the user must connect again · 75 try again later
import http from "node:http";
import https from "node:https";
import { readFileSync } from "node:fs";

const PATIENCE_SECONDS = 20;

class Ending extends Error {
  constructor(exitCode, message) {
    super(message);
    this.exitCode = exitCode;
  }
}

const deadline = Date.now() + PATIENCE_SECONDS * 1000;

function setting(name) {
  if (!process.env[name]) throw new Ending(2, `set ${name}`);
  return process.env[name];
}

// One request to the token interface. `fetch` speaks over no unix socket, `node:http` does.
function ask(method, path, body) {
  const url = setting("EVERGRANT_TOKEN_URL");
  const [, socketPath] = url.match(/^unix:(.*)$/) ?? [];
  const headers = { Authorization: `Bearer ${readFileSync(setting("EVERGRANT_APPLICATION_KEY_FILE"), "utf8").trim()}` };
  const options = { method, headers, timeout: 30_000, ...(socketPath && { socketPath }) };
  const client = url.startsWith("https:") ? https : http;
  return new Promise((resolve, reject) => {
    const request = client.request(new URL(path, socketPath ? "http://localhost" : url), options, (response) => {
      const chunks = [];
      response.on("data", (chunk) => chunks.push(chunk));
      response.on("error", reject);
      response.on("end", () =>
        resolve({ status: response.statusCode, headers: response.headers, text: Buffer.concat(chunks).toString() }));
    });
    request.on("timeout", () => request.destroy(new Error("no answer within 30 s")));
    request.on("error", reject);
    request.end(body && JSON.stringify(body));
  });
}

// The same, asked again as long as it says 429 or 503 and our patience lasts.
async function answered(method, path, body) {
  for (;;) {
    const { status, headers, text } = await ask(method, path, body);
    const told = JSON.parse(text);
    if (status < 300) return told;
    const said = `${told.message} ${told.next}`;
    if (status === 409 && told.error === "needs_consent") throw new Ending(3, `connect the user again (${told.reason})`);
    if (status === 410) throw new Ending(3, `it is revoked: ${said}`);
    if (status !== 429 && status !== 503) throw new Ending(1, `${status} ${told.error}: ${said}`);
    const seconds = Number(headers["retry-after"]) || 5;
    if (Date.now() + seconds * 1000 > deadline) throw new Ending(75, `try again in ${seconds} s: ${said}`);
    await pause(seconds);
  }
}

const pause = (seconds) => new Promise((resolve) => setTimeout(resolve, seconds * 1000));

const grant = (ref) => `/v1/grants/${encodeURIComponent(ref)}`;

// A token that replaced the one that the API refused. Reporting it causes one refresh, however many report it.
async function successor(ref, refused) {
  const { generation } = await answered("POST", `${grant(ref)}/rejected`, { generation: refused.generation });
  for (;;) {
    const token = await answered("GET", `${grant(ref)}/token`);
    if (token.generation >= generation) return token;
    if (Date.now() > deadline) throw new Ending(75, "no newer token came in time");
    await pause(0.5);
  }
}

function call(token) {
  const headers = { Authorization: `${token.token_type} ${token.access_token}`, ...token.headers };
  return fetch(setting("BOOKINGS_URL"), { headers, signal: AbortSignal.timeout(30_000) }).catch((error) => {
    throw new Ending(75, `the bookings API does not answer: ${(error.cause ?? error).message}`);
  });
}

async function main([ref]) {
  if (!ref) throw new Ending(2, "name a ref: node bookings.mjs REF");
  const token = await answered("GET", `${grant(ref)}/token`);
  let response = await call(token);
  if (response.status === 401) response = await call(await successor(ref, token));
  if (!response.ok) throw new Ending(1, `the bookings API answered ${response.status}`);
  for (const booking of (await response.json()).data) console.log(booking.attributes.name);
}

main(process.argv.slice(2)).catch((error) => {
  const away = ["ECONNREFUSED", "ECONNRESET", "ENOENT"].includes(error.code) && error.syscall !== "open";
  console.error(away ? `try again: ${error.message}` : error.message);
  process.exitCode = error.exitCode ?? (away ? 75 : 1);
});

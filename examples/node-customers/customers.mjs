// A web application without dependencies: customers connect their account, see their bookings, and leave again.
// Everything that it knows of their account comes over Evergrant's token interface. See README.md.
//   node customers.mjs
import http from "node:http";
import https from "node:https";
import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";

const ENDS = {
  connected: "Your account is connected.",
  denied: "Your account is not connected: you said no, or it was said for you.",
  failed: "Your account could not be connected. Please try again.",
};
const INVITATION = "Connect your account to see your bookings.";
const NEEDED = "Your integration needs you: connect your account again.";
const LARGEST_FORM = 4096;
const MOST_SESSIONS = 1000;

function setting(name) {
  if (process.env[name]) return process.env[name];
  console.error(`set ${name}`);
  process.exit(2);
}

const [CLIENT, API, PORT] = ["BOOKINGS_CLIENT", "BOOKINGS_URL", "PORT"].map(setting);
const EVERGRANT = setting("EVERGRANT_TOKEN_URL");
const KEY = readFileSync(setting("EVERGRANT_APPLICATION_KEY_FILE"), "utf8").trim();
const HERE = `http://127.0.0.1:${PORT}`;

// Who is signed in, by a cookie; gone with the process. Put your own in its place.
const sessions = new Map();

class Page extends Error {
  constructor(status, body, headers = {}) {
    super(body);
    Object.assign(this, { status, body, headers });
  }
}

// One request to Evergrant. `fetch` speaks over no unix socket, `node:http` does.
function evergrant(method, ref, what, body) {
  const [, socketPath] = EVERGRANT.match(/^unix:(.*)$/) ?? [];
  const path = `/v1/grants/${encodeURIComponent(ref)}/${what}?client=${encodeURIComponent(CLIENT)}`;
  const headers = { Authorization: `Bearer ${KEY}`, "Content-Type": "application/json" };
  const options = { method, headers, timeout: 30_000, ...(socketPath && { socketPath }) };
  const speaks = EVERGRANT.startsWith("https:") ? https : http;
  return new Promise((resolve, reject) => {
    const request = speaks.request(new URL(path, socketPath ? "http://localhost" : EVERGRANT), options, (response) => {
      const chunks = [];
      response.on("data", (chunk) => chunks.push(chunk));
      response.on("error", reject);
      response.on("end", () => {
        const told = JSON.parse(Buffer.concat(chunks).toString());
        resolve({ status: response.statusCode, wait: response.headers["retry-after"], ...told });
      });
    });
    request.on("timeout", () => request.destroy(new Error("no answer within 30 s")));
    request.on("error", reject);
    request.end(body && JSON.stringify(body));
  });
}

function unexpected(answer) {
  console.error(`evergrant: ${answer.status} ${answer.error}: ${answer.message}. ${answer.next}`);
  return new Page(503, "Not now. Please try again later.", { "Retry-After": answer.wait ?? 30 });
}

async function home(session) {
  if (!session) return page(button("/sign-in", "Sign in", '<label>Who are you? <input name="name" required></label> '));
  const token = await evergrant("GET", session.ref, "token");
  if (token.error === "unknown_ref" || token.status === 410) return invited(session, INVITATION);
  if (token.error === "needs_consent") return invited(session, NEEDED);
  if (token.status !== 200) throw unexpected(token);
  const headers = { Authorization: `${token.token_type} ${token.access_token}`, ...token.headers };
  const answer = await fetch(API, { headers, signal: AbortSignal.timeout(30_000) });
  // A program that goes on reports a 401 and takes the successor, as ../node-http does.
  if (answer.status === 401) await evergrant("POST", session.ref, "rejected", { generation: token.generation });
  if (!answer.ok) throw new Page(502, `The bookings cannot be read now (status ${answer.status}).`);
  const bookings = (await answer.json()).data.map((each) => `<li>${text(each.attributes.name)}</li>`).join("");
  const leave = button("/disconnect", "Disconnect");
  return page(`<h1>Bookings of ${text(session.ref)}</h1><ul>${bookings}</ul>${leave}`, session);
}

function invited(session, why) {
  const org = '<label>Organization <input name="org" value="org-1"></label> ';
  return page(`<h1>Bookings of ${text(session.ref)}</h1><p>${why}</p>${button("/connect", "Connect", org)}`, session);
}

// The link is made for whoever is signed in, at the moment that they ask for it, and shown to nobody else.
async function connect(session, form) {
  const labels = form.get("org") ? { org: form.get("org") } : undefined;
  const link = await evergrant("POST", session.ref, "connect", { return_to: `${HERE}/came-back`, labels });
  if (link.status !== 201) throw unexpected(link);
  return to(link.url);
}

// Anybody can type this address: it says what to tell, and the grant itself what is so.
function cameBack(session, query) {
  if (query.get("ref") === session.ref) session.said = ENDS[query.get("evergrant")] ?? ENDS.failed;
  return to("/");
}

async function disconnect(session) {
  const asked = await evergrant("POST", session.ref, "revocation", { reason: "customer disconnected" });
  if (asked.status >= 300 && asked.error !== "unknown_ref") throw unexpected(asked);
  session.said = "Your account is disconnected.";
  return to("/");
}

function signIn(form) {
  const name = form.get("name") ?? "";
  if (!/^[a-z0-9-]{1,40}$/.test(name)) throw new Page(400, "A name is 1 to 40 small letters, digits or dashes.");
  const id = randomBytes(32).toString("base64url");
  sessions.set(id, { ref: `customer-${name}` });
  if (sessions.size > MOST_SESSIONS) sessions.delete(sessions.keys().next().value);
  return to("/", { "Set-Cookie": `session=${id}; HttpOnly; SameSite=Lax; Path=/` });
}

const ROUTES = {
  "GET /": { run: ({ session }) => home(session), open: true },
  "POST /sign-in": { run: ({ form }) => signIn(form), open: true },
  "POST /connect": { run: ({ session, form }) => connect(session, form) },
  "GET /came-back": { run: ({ session, query }) => cameBack(session, query) },
  "POST /disconnect": { run: ({ session }) => disconnect(session) },
};

async function answer(request) {
  const { pathname, searchParams: query } = new URL(request.url, HERE);
  const route = ROUTES[`${request.method} ${pathname}`];
  if (!route) throw new Page(404, "There is no such page.");
  const session = sessions.get(/(?:^|;\s*)session=([\w-]+)/.exec(request.headers.cookie)?.[1]);
  if (!session && !route.open) throw new Page(401, "Sign in first.");
  const form = request.method === "POST" ? await formOf(request) : undefined;
  return route.run({ session, form, query });
}

async function formOf(request) {
  let body = "";
  for await (const chunk of request) {
    body += chunk;
    if (body.length > LARGEST_FORM) throw new Page(413, "That is too much.");
  }
  return new URLSearchParams(body);
}

const text = (said) => String(said).replace(/[&<>"']/g, (each) => `&#${each.charCodeAt(0)};`);
// Another site cannot press it: its form comes without the session's cookie, which is SameSite=Lax.
const button = (action, name, fields = "") =>
  `<form method="post" action="${action}">${fields}<button>${name}</button></form>`;
const to = (place, headers = {}) => new Page(303, "", { Location: place, ...headers });

function page(body, session) {
  const said = session?.said ? `<p role="status">${text(session.said)}</p>` : "";
  if (session) session.said = undefined;
  const html = `<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Bookings</title>
<main>${said}${body}</main></html>`;
  return new Page(200, html, { "Content-Type": "text/html; charset=utf-8" });
}

const server = http.createServer(async (request, response) => {
  const { status, body, headers } = await answer(request).catch((error) => {
    if (error instanceof Page) return error;
    console.error(error.message);
    return new Page(503, "Not now. Please try again later.");
  });
  response.writeHead(status, { "Content-Type": "text/plain; charset=utf-8", ...headers }).end(body);
});
server.listen(Number(PORT), "127.0.0.1", () => console.log(`open ${HERE}`));

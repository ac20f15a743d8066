// A real oidc-provider in one file, to put in front of Evergrant; see README.md beside it. For trials on loopback only.
// PORT (9502); HOST (127.0.0.1, or ::1); LIFETIME (20): seconds of an access token, REFRESH_LIFETIME (30 days): of a
// refresh token; ROTATE: always (as it comes), never, or late (its own default: when 70 % of the life has passed);
// AUTH (client_secret_post, or client_secret_basic), CLIENT_ID (trial), CLIENT_SECRET (s3cret).
// It forgets everything when it ends.
import http from 'node:http';
import { Provider } from 'oidc-provider';

const PORT = Number(process.env.PORT ?? 9502);
const HOST = process.env.HOST ?? '127.0.0.1';
const LIFETIME = Number(process.env.LIFETIME ?? 20);
const REFRESH_LIFETIME = Number(process.env.REFRESH_LIFETIME ?? 30 * 86400);
const ROTATE = { always: { rotateRefreshToken: true }, never: { rotateRefreshToken: false }, late: {} }[process.env.ROTATE ?? 'always'];
const CLIENT_ID = process.env.CLIENT_ID ?? 'trial';
const ISSUER = `http://${HOST.includes(':') ? `[${HOST}]` : HOST}:${PORT}`;
const SCOPE = 'openid offline_access';

const models = new Map();
const rows = (name) => models.get(name) ?? models.set(name, new Map()).get(name);
const now = () => Date.now() / 1000;

// The bundled adapter forgets the oldest of a thousand entries; this one forgets nothing.
class Memory {
  constructor(name) { this.rows = rows(name); }
  async upsert(id, payload) { this.rows.set(id, { ...payload }); }
  async find(id) { return this.rows.get(id); }
  async findByUid(uid) { return [...this.rows.values()].find((row) => row.uid === uid); }
  async findByUserCode() { return undefined; }
  async consume(id) { const row = this.rows.get(id); if (row) row.consumed = Math.floor(now()); }
  async destroy(id) { this.rows.delete(id); }
  async revokeByGrantId(grantId) {
    for (const each of models.values()) for (const [id, row] of each) if (row.grantId === grantId) each.delete(id);
  }
}

const provider = new Provider(ISSUER, {
  adapter: Memory,
  clients: [{
    client_id: CLIENT_ID, client_secret: process.env.CLIENT_SECRET ?? 's3cret',
    grant_types: ['authorization_code', 'refresh_token'], redirect_uris: ['http://127.0.0.1:8765/callback'],
    token_endpoint_auth_method: process.env.AUTH ?? 'client_secret_post',
  }],
  ttl: { AccessToken: LIFETIME, RefreshToken: REFRESH_LIFETIME, Grant: 60 * 86400 },
  ...ROTATE,
  issueRefreshToken: async () => true,
  features: { revocation: { enabled: true }, devInteractions: { enabled: true } },
  findAccount: async (_, id) => ({ accountId: id, claims: async () => ({ sub: id }) }),
  pkce: { required: () => false },
});

async function line(number) {
  const client = await provider.Client.find(CLIENT_ID);
  const grant = new provider.Grant({ accountId: `user-${number}`, clientId: CLIENT_ID });
  grant.addOIDCScope(SCOPE);
  const common = { accountId: `user-${number}`, client, grantId: await grant.save(), gty: 'authorization_code', scope: SCOPE };
  const accessToken = await new provider.AccessToken(common).save();
  const refreshToken = await new provider.RefreshToken({ ...common, rotations: 0, iiat: Math.floor(now()) }).save();
  return `${JSON.stringify({ ref: `customer-${number}`, access_token: accessToken, refresh_token: refreshToken,
    expires_in: LIFETIME, created_at: Math.floor(now()) })}\n`;
}

function opens(token) {
  const row = rows('AccessToken').get(token);
  return row !== undefined && row.exp > now() && rows('Grant').has(row.grantId);
}

// An API, and the door for trials: consents as lines for `grants import`, and the server's own table as the judge.
const doors = {
  '/v2/bookings': (request, response) => {
    response.writeHead(opens((request.headers.authorization ?? '').replace(/^Bearer /, '')) ? 200 : 401).end('{}');
  },
  '/trial/seed': async (_, response, query) => {
    const first = Number(query.get('first') ?? 1);
    for (let number = first; number < first + Number(query.get('n')); number += 1) response.write(await line(number));
    response.end();
  },
  '/trial/table': (_, response) => {
    const table = [...rows('RefreshToken')].map(([token, row]) => ({
      owner: row.accountId, refresh_token: token,
      revoked: Boolean(row.consumed) || row.exp <= now() || !rows('Grant').has(row.grantId),
    }));
    response.end(JSON.stringify(table));
  },
};

http.createServer((request, response) => {
  const url = new URL(request.url, ISSUER);
  const door = doors[url.pathname];
  return door ? door(request, response, url.searchParams) : provider.callback()(request, response);
}).listen(PORT, HOST, () => console.log(`oidc-provider at ${ISSUER}`));

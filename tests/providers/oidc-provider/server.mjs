// Runs `oidc-provider` for the tests, on loopback, for people who need no password.
//
// The provider is the library's own: authorization, device flow, tokens, introspection, revocation and
// logout are as it was certified. Written here is only what it leaves to whoever runs it: where things
// are stored, who there is, which clients and resources it knows, and the page where somebody signs in.
//
// It is told what to do in lines of JSON on standard input, and answers each with a line on standard
// output. The first line describes it; it ends when standard input closes, so it never outlives its parent.

import { generateKeyPairSync, randomUUID } from 'node:crypto';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';
import { createInterface } from 'node:readline';

// Standard output belongs to the conversation; the library's notices go where errors go.
console.log = console.info = console.debug = console.error;

// The library stands in a folder of its own, outside of the repository: the first argument.
const installed = createRequire(`${process.argv[2]}/package.json`);
const { Provider } = await import(pathToFileURL(installed.resolve('oidc-provider')).href);
const { default: MemoryAdapter } = await import(
  pathToFileURL(installed.resolve('oidc-provider/lib/adapters/memory_adapter.js')).href
);

const LOOPBACK = '127.0.0.1';
const GRANTED_MODELS = ['AccessToken', 'RefreshToken', 'AuthorizationCode', 'DeviceCode'];
const OIDC_SCOPES = ['openid', 'profile', 'offline_access'];

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const told = JSON.parse((await lines.next()).value);
const accounts = new Map(Object.entries(told.accounts));
const asked = {};
// What the provider remembers stands outside of it: a rotation of keys builds a new one over the same memory.
const memory = new Map();
let keys = [];
let provider;

// --- keys -------------------------------------------------------------------------------------------------

function newKey() {
  const options = { RS256: ['rsa', { modulusLength: 2048 }], ES256: ['ec', { namedCurve: 'P-256' }] }[told.algorithm];
  const { privateKey } = generateKeyPairSync(...options);
  return { ...privateKey.export({ format: 'jwk' }), use: 'sig', alg: told.algorithm, kid: randomUUID() };
}

function rotate({ withdraw }) {
  keys = [newKey(), ...(withdraw ? [] : keys)];
  build();
  return { key_id: keys[0].kid };
}

function build() {
  provider = new Provider(issuer, configuration());
  provider.use(async (context, next) => {
    await next();
    // RFC 8628, 3.2: else a device waits five seconds before it asks, and each test with it.
    if (context.oidc?.route === 'device_authorization') context.body = { ...context.body, interval: 1 };
  });
}

// --- what the provider is told ----------------------------------------------------------------------------

function configuration() {
  const named = new Set([...accounts.values()].flatMap((claims) => Object.keys(claims)));
  return {
    adapter: (model) => new MemoryAdapter(model, memory),
    clients: told.clients,
    clientDefaults: { id_token_signed_response_alg: told.algorithm },
    jwks: { keys },
    claims: { openid: ['sub'], profile: [...named] },
    scopes: OIDC_SCOPES,
    // Groups stand in ID tokens too, as most providers do it, and not at the userinfo endpoint only.
    conformIdTokenClaims: false,
    cookies: { keys: ['for a test, and nothing else'] },
    ttl: told.ttl,
    features: {
      devInteractions: { enabled: false },
      deviceFlow: { enabled: told.device_flow },
      clientCredentials: { enabled: true },
      introspection: { enabled: true },
      revocation: { enabled: true },
      backchannelLogout: { enabled: true },
      rpInitiatedLogout: { enabled: true },
      resourceIndicators: {
        enabled: true,
        defaultResource: (_, client, oneOf) => oneOf ?? told.default_resources[client.clientId],
        getResourceServerInfo: (_, resource) => resourceServer(resource),
      },
    },
    fetch: fetchOnLoopback,
    interactions: { url: (_, interaction) => `/interaction/${interaction.uid}` },
    findAccount: (_, id) => accounts.has(id)
      ? { accountId: id, claims: () => ({ sub: id, ...accounts.get(id) }) }
      : undefined,
    extraTokenClaims: (_, token) => token.chosenClaims
      ?? (token.accountId ? accounts.get(token.accountId) : told.client_claims[token.clientId]),
  };
}

function resourceServer(resource) {
  const { audience, format, lifetime } = told.resources[resource] ?? { audience: resource, format: 'jwt' };
  return {
    scope: 'catalog',
    audience,
    accessTokenFormat: format,
    accessTokenTTL: lifetime ?? 3600,
    ...(format === 'jwt' ? { jwt: { sign: { alg: told.algorithm } } } : {}),
  };
}

// The library refuses to call loopback addresses (SSRF). Here it calls nothing else.
function fetchOnLoopback(url, { dispatcher, ...options }) {
  if (new URL(url).hostname !== LOOPBACK) throw new Error('this provider calls nobody off this machine');
  return fetch(url, options);
}

// --- the page where somebody signs in ---------------------------------------------------------------------

async function interact(req, res) {
  const { prompt, params, session, grantId } = await provider.interactionDetails(req, res);
  if (req.method === 'GET') {
    const asks = prompt.name === 'login' ? '<input name="account">' : `${session.accountId}, go on?`;
    res.setHeader('Content-Type', 'text/html; charset=utf-8');
    res.end(`<!DOCTYPE html><title>Sign in</title><form method="post">${asks}<button>Continue</button></form>`);
    return;
  }
  const form = new URLSearchParams(await textOf(req));
  const accountId = session?.accountId ?? form.get('account');
  const result = form.has('abort') || !accounts.has(accountId)
    ? { error: 'access_denied', error_description: 'End-User aborted interaction' }
    : {
      ...(prompt.name === 'login' ? { login: { accountId } } : {}),
      consent: { grantId: await granted({ accountId, clientId: params.client_id, resource: params.resource, grantId }) },
    };
  await provider.interactionFinished(req, res, result, { mergeWithLastSubmission: false });
}

async function granted({ accountId, clientId, resource, grantId }) {
  const grant = (grantId && await provider.Grant.find(grantId)) || new provider.Grant({ accountId, clientId });
  grant.addOIDCScope(OIDC_SCOPES.join(' '));
  for (const each of [resource ?? []].flat()) grant.addResourceScope(each, 'catalog');
  return grant.save();
}

async function textOf(req) {
  let text = '';
  for await (const chunk of req) text += chunk;
  return text;
}

// --- what tests ask for -----------------------------------------------------------------------------------

async function token({ account, client, resource, claims, lifetime }) {
  const token = new provider.AccessToken({
    accountId: account,
    client: await provider.Client.find(client),
    grantId: await granted({ accountId: account, clientId: client, resource }),
    gty: 'authorization_code',
    scope: 'catalog',
    resourceServer: new provider.ResourceServer(resource, resourceServer(resource)),
    expiresIn: lifetime ?? undefined,
  });
  if (claims) token.chosenClaims = { ...accounts.get(account), ...claims };
  return { token: await token.save() };
}

function stored(model) {
  return [...memory].filter(([key]) => key.startsWith(`${model}:`)).map(([, payload]) => payload);
}

/** As an administrator does: every session and every token of the account ends, and the clients hear of it. */
async function endSessions({ account }) {
  const told = [];
  for (const { jti } of stored('Session').filter((session) => session.accountId === account)) {
    const session = await provider.Session.find(jti);
    for (const clientId of Object.keys(session.authorizations ?? {})) {
      const client = await provider.Client.find(clientId);
      if (client?.backchannelLogoutUri) {
        told.push(clientId);
        await client.backchannelLogout(account, session.sidFor(clientId));
      }
    }
    await session.destroy();
  }
  for (const { jti } of stored('Grant').filter((grant) => grant.accountId === account)) {
    await Promise.all(GRANTED_MODELS.map((model) => provider[model].revokeByGrantId(jti)));
    await provider.Grant.adapter.destroy(jti);
  }
  return { told };
}

const COMMANDS = {
  rotate,
  token,
  end_sessions: endSessions,
  account: ({ id, claims }) => { accounts.set(id, claims); return rebuilt(); },
  remove_account: ({ id }) => { accounts.delete(id); return {}; },
  client: ({ metadata }) => { told.clients.push(metadata); return rebuilt(); },
  asked: () => asked,
};

function rebuilt() {
  build();
  return {};
}

// --- running ----------------------------------------------------------------------------------------------

const server = createServer((req, res) => {
  const { pathname } = new URL(req.url, issuer);
  asked[pathname] = (asked[pathname] ?? 0) + 1;
  if (!pathname.startsWith('/interaction/')) return provider.callback()(req, res);
  return interact(req, res).catch((error) => {
    res.statusCode = error.statusCode ?? 500;
    res.end(error.error ?? 'server_error');
    if (res.statusCode === 500) console.error(error);
  });
});
await new Promise((listening) => { server.listen(0, LOOPBACK, listening); });
const issuer = `http://${LOOPBACK}:${server.address().port}`;

function answer(value) {
  process.stdout.write(`${JSON.stringify(value)}\n`);
}

answer({ issuer, ...rotate({ withdraw: true }) });
for await (const line of lines) {
  const { does, ...how } = JSON.parse(line);
  try {
    answer(await COMMANDS[does](how));
  } catch (error) {
    answer({ error: `${error.message}${error.error_description ? `: ${error.error_description}` : ''}` });
  }
}
process.exit(0);

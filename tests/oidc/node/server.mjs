// An auth server on loopback: oidc-provider, as it is certified, with the clients that the tests need.
//
// Prints its address. Tokens are for the resource that is asked for, and that says their form and for how long they are
// good: https://<audience>.example/<rs256|es256|opaque>/<seconds>. POST /rotate makes new signing keys and keeps the old
// ones published; POST /retire publishes the new ones only. GET /asked counts what was asked for, by path.
import { createServer } from "node:http";
import { generateKeyPair } from "node:crypto";
import { promisify } from "node:util";
import { Provider } from "oidc-provider";

const SCOPES = "sluice:chat sluice:read";
const clients = [
  { client_id: "robot", client_secret: "secret of the robot", grant_types: ["client_credentials"] },
  // Its secret has what must be encoded before it is put into a header.
  { client_id: "the gateway", client_secret: "100% secret: of the gateway", grant_types: [] },
].map((client) => ({ redirect_uris: [], response_types: [], scope: SCOPES, ...client }));

let number = 0;
async function keys() {
  number += 1;
  const made = [
    ["RS256", "rsa", { modulusLength: 2048 }],
    ["ES256", "ec", { namedCurve: "P-256" }],
  ].map(async ([alg, type, options]) => {
    const { privateKey } = await promisify(generateKeyPair)(type, options);
    return { ...privateKey.export({ format: "jwk" }), alg, use: "sig", kid: `${alg}-${number}` };
  });
  return Promise.all(made);
}

function resource(url) {
  const [, audience, form, seconds] = /^https:\/\/([a-z]+)\.example\/(rs256|es256|opaque)\/(\d+)$/.exec(url);
  const jwt = { sign: { alg: form.toUpperCase() } };
  const accessTokenFormat = form === "opaque" ? "opaque" : "jwt";
  return { scope: SCOPES, audience, accessTokenFormat, accessTokenTTL: Number(seconds), jwt };
}

function provider(address, signing) {
  const made = new Provider(address, {
    clients,
    jwks: { keys: signing },
    scopes: SCOPES.split(" "),
    features: {
      clientCredentials: { enabled: true },
      devInteractions: { enabled: false },
      introspection: { enabled: true, allowedPolicy: () => true },
      revocation: { enabled: true, allowedPolicy: (_, client, token) => client.clientId === token.clientId },
      resourceIndicators: { enabled: true, getResourceServerInfo: (_, url) => resource(url) },
    },
    extraTokenClaims: () => ({ tenants: ["acme"], groups: { acme: "staff" } }),
    ttl: { ClientCredentials: (_, token) => token.resourceServer.accessTokenTTL },
  });
  return made.callback();
}

const asked = {};
let signing = await keys();
let answer;
const server = createServer(async (request, response) => {
  const path = request.url.split("?")[0];
  if (path === "/rotate" || path === "/retire") {
    signing = path === "/rotate" ? [...(await keys()), ...signing] : signing.slice(0, 2);
    answer = provider(address, signing);
    response.end();
  } else if (path === "/asked") {
    response.end(JSON.stringify(asked));
  } else {
    asked[path] = (asked[path] ?? 0) + 1;
    await answer(request, response);
  }
});
await new Promise((listening) => server.listen(0, "127.0.0.1", listening));
const address = `http://127.0.0.1:${server.address().port}`;
answer = provider(address, signing);
console.log(address);
// Whoever started it is gone once its input ends.
process.stdin.resume().on("end", () => process.exit());

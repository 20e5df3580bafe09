// Verifies rings with the published libraries, and with node's own crypto: reads [{secrets, jwks, headers, body}] and
// prints, for each, by which secrets and by which keys it verifies.
import { createPublicKey, verify } from "node:crypto";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const require = createRequire(new URL("../package.json", import.meta.url));
const libraries = { standardwebhooks: require("standardwebhooks").Webhook, svix: require("svix").Webhook };

function accepts(Webhook, secret, ring) {
  try {
    new Webhook(secret).verify(ring.body, ring.headers);
    return true;
  } catch {
    return false;
  }
}

function signs(jwk, ring) {
  const key = createPublicKey({ key: jwk, format: "jwk" });
  const { "webhook-id": id, "webhook-timestamp": at, "webhook-signature": tokens } = ring.headers;
  return tokens
    .split(" ")
    .filter((token) => token.startsWith("v1a,"))
    .some((token) => verify(null, Buffer.from(`${id}.${at}.${ring.body}`), key, Buffer.from(token.slice(4), "base64")));
}

const rings = JSON.parse(readFileSync(0, "utf8"));
const verdicts = rings.map((ring) => ({
  ...Object.fromEntries(
    Object.entries(libraries).map(([name, Webhook]) => [name, ring.secrets.filter((one) => accepts(Webhook, one, ring))]),
  ),
  v1a: ring.jwks.keys.filter((jwk) => signs(jwk, ring)).map((jwk) => jwk.kid),
}));
console.log(JSON.stringify(verdicts));

// A receiver for workers at the edge: a `fetch` handler on the Web's own APIs, with no package and no Node.
//
// It verifies by the relay's public key as well as by the secret. `env` holds RING_SECRET (whsec_…), RING_PUBLIC_KEY (`x` of
// each key in the relay's /.well-known/jwks.json, or whpk_…), ENDPOINT_ID (ep_…), and SEEN, a key-value store. Of secrets and
// of public keys there may be several, separated by commas: while one replaces another.

const toleranceSeconds = 300;
const bodyBytesMax = 512 * 1024;

// Base64 of either alphabet, with padding or without.
const bytesOf = (text) =>
  Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (character) => character.charCodeAt(0));

// Whether one of these signatures is by one of these keys.
async function isByOneOf(keys, algorithm, signatures, content) {
  const raw = keys.split(",").map((text) => bytesOf(text.replace(/^wh(sec|pk)_/, "")));
  const known = await Promise.all(raw.map((key) => crypto.subtle.importKey("raw", key, algorithm, false, ["verify"])));
  const checks = known.flatMap((key) => signatures.map((one) => crypto.subtle.verify(algorithm, key, one, content)));
  return (await Promise.all(checks)).includes(true);
}

async function isGenuine(headers, body, env) {
  const id = headers.get("webhook-id") ?? "";
  const sentAt = headers.get("webhook-timestamp") ?? "";
  if (!/^\d+$/.test(sentAt) || Math.abs(Date.now() / 1000 - Number(sentAt)) > toleranceSeconds) return false;
  // The relay's key signs for every agent, so the id has to say that this ring is for us.
  if (!id.startsWith(`${env.ENDPOINT_ID}_msg_`)) return false;
  const content = new Uint8Array([...new TextEncoder().encode(`${id}.${sentAt}.`), ...body]);
  const tokens = (headers.get("webhook-signature") ?? "").split(" ");
  const signatures = (version) =>
    tokens.filter((token) => token.startsWith(`${version},`)).map((token) => bytesOf(token.slice(version.length + 1)));
  return (
    (await isByOneOf(env.RING_SECRET, { name: "HMAC", hash: "SHA-256" }, signatures("v1"), content)) &&
    (await isByOneOf(env.RING_PUBLIC_KEY, { name: "Ed25519" }, signatures("v1a"), content))
  );
}

export default {
  async fetch(request, env) {
    const body = new Uint8Array(await request.arrayBuffer());
    if (body.length > bodyBytesMax) return new Response(null, { status: 413 });
    if (!(await isGenuine(request.headers, body, env).catch(() => false))) return new Response(null, { status: 400 });
    const ring = JSON.parse(new TextDecoder().decode(body));
    if (ring.type === "endpoint.verification") return Response.json({ challenge: ring.data.challenge });
    const id = request.headers.get("webhook-id");
    if ((await env.SEEN.get(id)) === null) {
      await env.SEEN.put(id, "1", { expirationTtl: 7 * 86400 });
      console.log(ring.type, JSON.stringify(ring.data));
    }
    return new Response(null, { status: 204 });
  },
};

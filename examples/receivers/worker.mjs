// A receiver for workers at the edge: a `fetch` handler on the Web's own APIs, with no package and no Node.
//
// It verifies by the relay's public key as well as by the secret. `env` holds RING_SECRET (whsec_…), RING_PUBLIC_KEY
// (whpk_…, from the relay's /.well-known/jwks.json), ENDPOINT_ID (ep_…), and SEEN, a key-value store.

const toleranceSeconds = 300;
const bodyBytesMax = 512 * 1024;

const bytesOf = (text) => Uint8Array.from(atob(text), (character) => character.charCodeAt(0));

async function isByTheSecret(secret, signatures, content) {
  const raw = bytesOf(secret.replace(/^whsec_/, ""));
  const key = await crypto.subtle.importKey("raw", raw, { name: "HMAC", hash: "SHA-256" }, false, ["verify"]);
  const checks = signatures("v1").map((signature) => crypto.subtle.verify("HMAC", key, signature, content));
  return (await Promise.all(checks)).includes(true);
}

async function isByTheRelay(publicKey, signatures, content) {
  const raw = bytesOf(publicKey.replace(/^whpk_/, ""));
  const key = await crypto.subtle.importKey("raw", raw, { name: "Ed25519" }, false, ["verify"]);
  const checks = signatures("v1a").map((signature) => crypto.subtle.verify("Ed25519", key, signature, content));
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
    (await isByTheSecret(env.RING_SECRET, signatures, content)) &&
    (await isByTheRelay(env.RING_PUBLIC_KEY, signatures, content))
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

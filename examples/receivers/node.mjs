// A receiver on Node alone: verifies a ring, answers the challenge, drops what it has seen.
//
//     RING_SECRET=whsec_… node examples/receivers/node.mjs 9000

import { createHmac, timingSafeEqual } from "node:crypto";
import { createServer } from "node:http";

const secrets = process.env.RING_SECRET.split(",").map((text) => Buffer.from(text.replace(/^whsec_/, ""), "base64"));
const toleranceSeconds = 300;
const bodyBytesMax = 512 * 1024;

// In a real receiver this is a table with a unique column: it has to outlive the process.
const seen = new Set();

function isGenuine(headers, body) {
  const { "webhook-id": id = "", "webhook-timestamp": sentAt = "", "webhook-signature": signatures = "" } = headers;
  if (!/^\d+$/.test(sentAt) || Math.abs(Date.now() / 1000 - Number(sentAt)) > toleranceSeconds) return false;
  const content = Buffer.concat([Buffer.from(`${id}.${sentAt}.`), body]);
  const expected = secrets.map((secret) => createHmac("sha256", secret).update(content).digest());
  // There may be several, and some of versions that we do not know.
  const given = signatures
    .split(" ")
    .filter((token) => token.startsWith("v1,"))
    .map((token) => Buffer.from(token.slice(3), "base64"));
  return expected.some((one) => given.some((other) => one.length === other.length && timingSafeEqual(one, other)));
}

async function read(request) {
  const chunks = [];
  let size = 0;
  for await (const chunk of request) {
    size += chunk.length;
    if (size > bodyBytesMax) return null;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

async function take(request, response) {
  const body = await read(request);
  if (body === null) return response.writeHead(413).end();
  if (request.method !== "POST" || !isGenuine(request.headers, body)) return response.writeHead(400).end();
  const ring = JSON.parse(body);
  if (ring.type === "endpoint.verification") {
    response.writeHead(200, { "content-type": "application/json" });
    return response.end(JSON.stringify({ challenge: ring.data.challenge }));
  }
  const id = request.headers["webhook-id"];
  if (!seen.has(id)) {
    seen.add(id);
    console.log(ring.type, JSON.stringify(ring.data));
  }
  response.writeHead(204).end();
}

// A request that is broken off ends in an error, which would end the process, too.
createServer((request, response) => take(request, response).catch(() => response.destroy())).listen(
  Number(process.argv[2]),
  "127.0.0.1",
);

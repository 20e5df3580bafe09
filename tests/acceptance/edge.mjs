// Runs a `fetch` handler as an edge would: requests of a real server become the Web's own, and SEEN is a store in memory.
//
//     node edge.mjs <handler.mjs> <port>

import { createServer } from "node:http";
import { pathToFileURL } from "node:url";

const { default: worker } = await import(pathToFileURL(process.argv[2]).href);
const kept = new Map();
const env = {
  ...process.env,
  SEEN: { get: async (key) => kept.get(key) ?? null, put: async (key, value) => void kept.set(key, value) },
};

async function answer(incoming, outgoing) {
  const chunks = [];
  for await (const chunk of incoming) chunks.push(chunk);
  const { method, headers } = incoming;
  const asked = new Request(`http://edge.example${incoming.url}`, { method, headers, body: Buffer.concat(chunks) });
  const said = await worker.fetch(asked, env);
  outgoing.writeHead(said.status, Object.fromEntries(said.headers));
  outgoing.end(Buffer.from(await said.arrayBuffer()));
}

createServer((incoming, outgoing) => answer(incoming, outgoing).catch(() => outgoing.destroy())).listen(
  Number(process.argv[3]),
  "127.0.0.1",
);

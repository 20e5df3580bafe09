// A ganache on a port that the system chose: an EVM implementation that has nothing in common with anvil's.
// It prints its URL, and ends with its standard input.
import { createServer } from "node:net";
import { createRequire } from "node:module";

const require = createRequire(new URL("../package.json", import.meta.url));
const ganache = require("ganache");

const port = await new Promise((resolve) => {
  const probe = createServer().listen(0, "127.0.0.1", () => {
    const { port } = probe.address();
    probe.close(() => resolve(port));
  });
});
const server = ganache.server({
  chain: { chainId: 31337, time: new Date(1_700_000_000_000) },
  logging: { quiet: true },
  wallet: { deterministic: true, totalAccounts: 5 },
});
await server.listen(port, "127.0.0.1");
// Blocks are made when they are asked for.
await server.provider.send("miner_stop");
console.log(`Listening on http://127.0.0.1:${port}`);
process.stdin.resume().on("end", () => process.exit(0));

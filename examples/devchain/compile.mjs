// Reproduces token.json from Token.sol. `--check` compares instead of writing and exits 1 when they differ.
//
//     npm install --no-save solc@0.8.30 && node examples/devchain/compile.mjs [--check]
import { readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";

// Resolved from the working directory, so that solc may be installed anywhere.
const solc = createRequire(join(process.cwd(), "package.json"))("solc");
const here = (name) => new URL(name, import.meta.url);

const input = {
  language: "Solidity",
  sources: { "Token.sol": { content: readFileSync(here("Token.sol"), "utf8") } },
  settings: {
    optimizer: { enabled: true, runs: 200 },
    evmVersion: "paris",
    metadata: { bytecodeHash: "none", appendCBOR: false },
    outputSelection: { "*": { "*": ["abi", "evm.bytecode.object", "evm.deployedBytecode.object"] } },
  },
};
const output = JSON.parse(solc.compile(JSON.stringify(input)));
for (const { formattedMessage } of output.errors ?? []) console.error(formattedMessage);
if ((output.errors ?? []).length > 0) process.exit(1);

const { abi, evm } = output.contracts["Token.sol"].Token;
const compiled = {
  contract: "Token",
  compiler: solc.version().split(".Emscripten")[0],
  abi,
  bytecode: "0x" + evm.bytecode.object,
  deployedBytecode: "0x" + evm.deployedBytecode.object,
};
const text = JSON.stringify(compiled, null, 1) + "\n";
if (!process.argv.includes("--check")) {
  writeFileSync(here("token.json"), text);
} else if (readFileSync(here("token.json"), "utf8") !== text) {
  console.error("token.json is not what Token.sol compiles to; run compile.mjs");
  process.exit(1);
}

// Turns forge's build output into abi/NAME.json: name, ABI, creation code, runtime code and where that holds immutable
// values; nothing that depends on the machine. `--check` compares instead of writing and exits 1 on the first
// difference.
"use strict";

const fs = require("node:fs");
const path = require("node:path");

const CONTRACTS = ["ComputePools", "ComputeRegistry", "LodeToken", "Rewards", "Slashing", "ValidatorSet"];
/** Largest runtime code that a chain accepts, bytes (EIP-170). */
const MAX_RUNTIME_BYTES = 24_576;
const OUT = path.join(__dirname, "..", "out", "abi");
const ABI = path.join(__dirname, "..", "..", "abi");

/** The file that should stand in abi/ for a contract, as text. */
function render(name) {
  const artifact = JSON.parse(fs.readFileSync(path.join(OUT, `${name}.sol`, `${name}.json`), "utf8"));
  if (Object.keys(artifact.bytecode.linkReferences ?? {}).length !== 0) {
    throw new Error(`${name} needs a linked library; abi/ holds self-contained bytecode only`);
  }
  const runtimeBytes = artifact.deployedBytecode.object.length / 2 - 1;
  if (runtimeBytes > MAX_RUNTIME_BYTES) {
    throw new Error(`${name} has ${runtimeBytes} bytes of runtime code; no chain deploys more than ${MAX_RUNTIME_BYTES}`);
  }
  const record = {
    contractName: name,
    abi: artifact.abi,
    bytecode: artifact.bytecode.object,
    deployedBytecode: artifact.deployedBytecode.object,
    immutableReferences: Object.values(artifact.deployedBytecode.immutableReferences ?? {})
      .flat()
      .map(({ start, length }) => ({ start, length }))
      .sort((left, right) => left.start - right.start),
  };
  return `${JSON.stringify(record, null, 1)}\n`;
}

const check = process.argv.includes("--check");
let drifted = 0;
for (const name of CONTRACTS) {
  const file = path.join(ABI, `${name}.json`);
  const expected = render(name);
  const found = fs.existsSync(file) ? fs.readFileSync(file, "utf8") : "";
  if (found === expected) continue;
  if (check) {
    drifted += 1;
    console.error(`abi/${name}.json differs from what contracts/solidity compiles to; run scripts/abi and commit it`);
  } else {
    fs.writeFileSync(file, expected);
    console.log(`abi/${name}.json written`);
  }
}
const strangers = fs.readdirSync(ABI).filter((file) => file.endsWith(".json") && !CONTRACTS.includes(file.slice(0, -5)));
for (const file of strangers) {
  drifted += 1;
  console.error(`abi/${file} belongs to no contract`);
}
process.exit(drifted === 0 ? 0 : 1);

#!/usr/bin/env node
// The compiler that forge runs: answers `--version`, and otherwise compiles standard JSON from stdin to stdout.
// The compiler itself is the `solc` package of the lock file (WebAssembly), so no binary is fetched at build time.
"use strict";

const fs = require("node:fs");
const path = require("node:path");

const solc = require(path.join(__dirname, "..", "node_modules", "solc"));

if (process.argv.includes("--version")) {
  // forge parses the platform suffix of a native compiler.
  const version = solc.version().replace("Emscripten.clang", "Linux.g++");
  process.stdout.write(`solc, the solidity compiler commandline interface\nVersion: ${version}\n`);
} else {
  process.stdout.write(solc.compile(fs.readFileSync(0, "utf8")));
}

// Prints snapshots/gas.json as `step gas` lines, or as one JSON object of numbers with `--json`.
"use strict";

const fs = require("node:fs");
const path = require("node:path");

const recorded = JSON.parse(fs.readFileSync(path.join(__dirname, "..", "snapshots", "gas.json"), "utf8"));
const steps = Object.entries(recorded).map(([step, gas]) => [step, Number(gas)]);
if (process.argv.includes("--json")) console.log(JSON.stringify(Object.fromEntries(steps), null, 2));
else for (const [step, gas] of steps) console.log(`${step} ${gas}`);

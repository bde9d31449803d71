// Prints lines and branches reached, a file a line, from an LCOV report; exits 1 when either is below the minimum (per
// cent) in all. Only contracts/solidity counts.
"use strict";

const fs = require("node:fs");

const [report, minimum] = [process.argv[2], Number(process.argv[3])];

/** One record of the report: what there is, what was reached, and the lines where something was not. */
function read(record) {
  const of = (kind) => record.filter((line) => line.startsWith(`${kind}:`)).map((line) => line.slice(kind.length + 1));
  const lines = of("DA").map((entry) => entry.split(","));
  // BRDA: line, block, branch, count or "-" when the block never ran.
  const branches = of("BRDA").map((entry) => entry.split(","));
  const reached = (entry) => Number(entry.at(-1)) > 0;
  const missed = [...lines, ...branches].filter((entry) => !reached(entry)).map((entry) => Number(entry[0]));
  return {
    file: of("SF")[0],
    lines: { all: lines.length, reached: lines.filter(reached).length },
    branches: { all: branches.length, reached: branches.filter(reached).length },
    missed: [...new Set(missed)].sort((left, right) => left - right),
  };
}

const percent = ({ all, reached }) => (all === 0 ? 100 : (100 * reached) / all);
const cell = (count) => `${percent(count).toFixed(1).padStart(6)} % (${count.reached}/${count.all})`.padEnd(22);

const files = fs
  .readFileSync(report, "utf8")
  .split("end_of_record\n")
  .map((record) => record.split("\n"))
  .filter((record) => record.some((line) => line.startsWith("SF:solidity/")))
  .map(read);
if (files.length === 0) throw new Error(`${report} says nothing about solidity/`);

const total = { file: "all", lines: { all: 0, reached: 0 }, branches: { all: 0, reached: 0 }, missed: [] };
for (const { lines, branches } of files) {
  for (const key of ["all", "reached"]) {
    total.lines[key] += lines[key];
    total.branches[key] += branches[key];
  }
}
console.log(`${"".padEnd(40)}${"lines".padEnd(22)}${"branches".padEnd(22)}not reached`);
for (const { file, lines, branches, missed } of [...files, total]) {
  console.log(`${file.padEnd(40)}${cell(lines)}${cell(branches)}${missed.join(" ")}`.trimEnd());
}
const below = ["lines", "branches"].filter((kind) => percent(total[kind]) < minimum);
for (const kind of below) console.error(`${kind}: ${percent(total[kind]).toFixed(1)} % is below ${minimum} %`);
process.exit(below.length === 0 ? 0 : 1);

// Compares slither's findings with the answers in a Markdown table of three columns: detector, place, answer. A place is
// `Contract.function` (or `Contract`), or `*` for every place. Exits 1 on a finding without an answer, and on an answer
// without a finding.
"use strict";

const fs = require("node:fs");

const report = JSON.parse(fs.readFileSync(process.argv[2], "utf8"));
if (!report.success) throw new Error(`slither failed: ${report.error}`);

/** The contract and function that a finding is about. */
function placeOf({ elements }) {
  const element = elements[0] ?? {};
  const parent = element.type_specific_fields?.parent;
  return element.type === "contract" || parent === undefined ? element.name : `${parent.name}.${element.name}`;
}

const answers = fs
  .readFileSync(process.argv[3], "utf8")
  .split("\n")
  .map((line) => line.match(/^\| `([^`]+)` \| `([^`]+)` \| (.+) \|$/))
  .filter((match) => match !== null)
  .map(([, detector, place]) => ({ detector, place, asked: 0 }));

let failures = 0;
for (const finding of report.results.detectors ?? []) {
  const place = placeOf(finding);
  const answer = answers.find((entry) => entry.detector === finding.check && ["*", place].includes(entry.place));
  if (answer === undefined) {
    failures += 1;
    console.error(`${finding.impact}: ${finding.check} in ${place}\n${finding.description.trim()}\n`);
  } else {
    answer.asked += 1;
  }
}
for (const { detector, place } of answers.filter((entry) => entry.asked === 0)) {
  failures += 1;
  console.error(`${process.argv[3]} answers ${detector} in ${place}, which slither does not find any more`);
}
const answered = answers.reduce((sum, entry) => sum + entry.asked, 0);
console.log(`slither: ${answered} findings answered, ${failures} not`);
process.exit(failures === 0 ? 0 : 1);

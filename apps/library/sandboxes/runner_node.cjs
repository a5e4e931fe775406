// Runs a person's JavaScript inside the sandbox. The value of the last expression is the result; code with `import`
// or a top-level `await` runs as a module, which has no value.
"use strict";

const fs = require("node:fs");
const util = require("node:util");
const vm = require("node:vm");

globalThis.require = require;
globalThis.module = { exports: {} };
globalThis.exports = globalThis.module.exports;
Object.assign(globalThis, JSON.parse(fs.readFileSync(".fd-variables", "utf8")));
const code = fs.readFileSync(".fd-code", "utf8");

function write(value) {
  if (value === undefined) return;
  const shown = { text: util.inspect(value) };
  if (value !== null && typeof value === "object") {
    try {
      shown.json = JSON.parse(JSON.stringify(value));
    } catch {
      // it goes round in circles
    }
  }
  fs.writeFileSync(".fd-result", JSON.stringify(shown));
}

function fail(error) {
  console.error(error);
  process.exitCode = 1;
}

let script;
try {
  script = new vm.Script(code, { filename: "code.js" });
} catch (error) {
  fs.writeFileSync(".fd-module.mjs", code);
  import(process.cwd() + "/.fd-module.mjs").catch((problem) => fail(problem instanceof SyntaxError ? error : problem));
}
if (script) {
  try {
    Promise.resolve(script.runInThisContext()).then(write, fail);
  } catch (error) {
    fail(error);
  }
}

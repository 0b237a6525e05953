// Renders texts as Home Assistant's frontend does, by the frontend's own worker.
// Arguments: the worker's file. Input: a JSON array of Markdown. Output: a JSON array of HTML.

import { readFileSync } from "node:fs";
import { runInThisContext } from "node:vm";

const listeners = [];
const answers = [];
Object.assign(globalThis, {
  self: globalThis,
  location: { href: "http://localhost/" },
  importScripts: () => {},
  addEventListener: (_type, listener) => listeners.push(listener),
  removeEventListener: () => {},
  postMessage: (answer) => answers.push(answer.value.join("")),
});
runInThisContext(readFileSync(process.argv[2], "utf8"));
const texts = JSON.parse(readFileSync(0, "utf8"));
for (const text of texts) {
  const argumentList = [text, { breaks: true }, {}].map((value) => ({ type: "RAW", value }));
  const data = { id: "1", type: "APPLY", path: ["renderMarkdown"], argumentList };
  listeners.forEach((listener) => listener({ data, origin: "*" }));
}
while (answers.length < texts.length) await new Promise((done) => setTimeout(done, 5));
process.stdout.write(JSON.stringify(answers), () => process.exit());

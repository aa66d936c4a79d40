/** The code of docs/javascript.md, in files of a folder, against a real server. */

import assert from "node:assert/strict";

import { newStorage } from "./storage.mjs";

const { folder, url, text } = JSON.parse(process.argv[2]);
const [answer, states, reload, transport] = await Promise.all(
  [0, 1, 2, 3].map((number) => import(`${folder}/${number}.mjs`)),
);

let shown = "";
const show = (text) => (shown += text);
await answer.answer(url, show);
assert.equal(shown, text);

shown = "";
const told = [];
await states.answerWithStates(url, show, (words) => told.push(words));
assert.equal(shown, text);
assert.deepEqual(told, ["Complete."]);

shown = "";
const storage = newStorage();
const leave = () => {
  throw new Error("reload");
};
await assert.rejects(reload.answerAfterReload(url, leave, storage), { message: "reload" });
assert.equal(storage.length, 1);
await reload.answerAfterReload("http://localhost:1/", show, storage);
assert.equal(shown, text);

assert.ok(transport.transport);
console.log("done");

/** The scripts of docs/code against a real server whose bodies end early; prints what each has read. */

import { newStorage } from "./storage.mjs";

const { folder, url, count, every } = JSON.parse(process.argv[2]);
const { answer } = await import(`${folder}/follow.mjs`);
const { readByHand, stop } = await import(`${folder}/fetch.mjs`);
const { newAgent } = await import(`${folder}/ag_ui.mjs`);

// Where a body breaks, the client of AG-UI also rejects a promise that nobody has.
process.on("unhandledRejection", () => {});

const asked = (every) => `${url}/produce?format=raw&count=${count}&every=${every}`;

async function start(every) {
  const response = await fetch(asked(every), { method: "POST" });
  await response.body.cancel();
  return `${url}/streams/${response.headers.get("X-Resumable-Stream-Id")}/`;
}

/** Read with the page's `follow`: leave in mid-answer as a reload does, then read it to its end. */
async function followed() {
  globalThis.sessionStorage = newStorage();
  const leave = () => {
    throw new Error("reload");
  };
  await answer(asked(every), leave, {}).catch(() => {});
  let text = "";
  await answer("http://localhost:1/", (more) => (text += more), {});
  return text;
}

/** Stop a stream with the button of the page; return whether that ended the loop. */
async function stoppedByButton() {
  globalThis.sessionStorage = newStorage();
  const button = {};
  await answer(asked(10), () => button.onclick(), button);
  return true;
}

async function readAll() {
  const chunks = [];
  const status = await readByHand(await start(every), (bytes) => chunks.push(bytes));
  return { text: Buffer.concat(chunks).toString(), status };
}

async function stoppedByHand() {
  const address = await start(10);
  return readByHand(address, () => void stop(address));
}

async function said() {
  const agent = newAgent(`${url}/agent`);
  await agent.runAgent({ forwardedProps: { count, every } });
  return agent.messages.map(({ content }) => content).join("");
}

/** Abort a run after its first words; return the status of its stream, which is then cancelled. */
async function aborted() {
  const agent = newAgent(`${url}/agent`);
  const runId = crypto.randomUUID();
  const onTextMessageContentEvent = () => agent.abortRun();
  await agent.runAgent({ runId, forwardedProps: { count, every: 10 } }, { onTextMessageContentEvent }).catch(() => {});
  const look = await fetch(`${url}/streams/${runId}/`, { method: "HEAD" });
  await stop(`${url}/streams/${runId}/`);
  return look.headers.get("X-Resumable-Stream-Status");
}

const found = { followed, stoppedByButton, readAll, stoppedByHand, said, aborted };
for (const [name, run] of Object.entries(found)) found[name] = await run();
console.log(JSON.stringify(found));

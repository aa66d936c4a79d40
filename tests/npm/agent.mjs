/**
 * A stock agent of AG-UI: run once; with `client`, go on where the connection broke, and with `tries`,
 * run again while it fails. With `cuts`, the connection breaks at these bytes.
 *
 * Prints a line of JSON for each event, and at the end what the client has made of them.
 */

import { HttpAgent } from "@ag-ui/client";

import { cutsBefore } from "./cuts.mjs";
import { randomCuts } from "./random_cuts.mjs";

const given = JSON.parse(process.argv[2]);
const { path = "/agent", question, runId, threadId, props, cancelAt, client, tries = 1, cuts = 0, seed, longest } = given;
const proxy = await cutsBefore(given.url);
proxy.plan("run", randomCuts(cuts, { seed, longest }));
const url = cuts ? proxy.url : given.url;
const headers = { ...given.headers, "X-Case": "run" };

// Where a body breaks, the client also rejects a promise that nobody has: a browser prints that.
process.on("unhandledRejection", () => {});

/** The `fetch` of client.js, which goes on where a body broke; print that it does. */
async function makeFetch() {
  const { createFetch } = await import(client);
  return createFetch({
    firstPause: cuts ? 1 : 100,
    longestPause: 500,
    fetch(input, init) {
      const lastId = new Headers(init?.headers).get("Last-Event-ID");
      if (lastId) console.log(JSON.stringify({ broken: lastId }));
      return fetch(input, init);
    },
  });
}

const agent = new HttpAgent({
  url: `${url}${path}`,
  headers,
  threadId,
  initialMessages: question ? [{ id: "q", role: "user", content: question }] : [],
  ...(client ? { fetch: await makeFetch() } : {}),
});

const seen = [];
const end = {};
async function runOnce() {
  const run = agent.runAgent(
    { runId, forwardedProps: props },
    {
      onEvent({ event }) {
        seen.push(event.type);
        console.log(JSON.stringify({ event }));
        if (seen.length === cancelAt) {
          fetch(`${url}/streams/${runId}/cancel/`, { method: "POST", headers });
        }
      },
      onRunFinishedEvent() {
        end.finished = (end.finished ?? 0) + 1;
      },
      onRunErrorEvent({ event }) {
        end.error = event.code;
      },
      onRunFailed({ error }) {
        end.failed = error.message;
      },
    },
  );
  await run.catch((error) => {
    end.thrown = error.message;
  });
}

for (let run = 0; run < tries && !end.finished; run += 1) {
  // A run is told from its start: what was here of it would be there twice.
  agent.setMessages(agent.messages.filter((message) => message.role !== "assistant"));
  await runOnce();
}
console.log(JSON.stringify({ end, messages: agent.messages, cuts: proxy.made("run") }));
proxy.close();

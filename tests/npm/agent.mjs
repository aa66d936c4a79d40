/**
 * A stock agent of AG-UI: run once; with `client`, go on where the connection broke, and with `tries`,
 * run again while it fails.
 *
 * Prints a line of JSON for each event, and at the end what the client has made of them.
 */

import { HttpAgent } from "@ag-ui/client";

const { url, headers, runId, threadId, props, cancelAt, client, tries = 1 } = JSON.parse(process.argv[2]);

// Where a body breaks, the client also rejects a promise that nobody has: a browser prints that.
process.on("unhandledRejection", () => {});

/** The `fetch` of client.js, which goes on where a body broke; print that it does. */
async function makeFetch() {
  const { createFetch } = await import(client);
  return createFetch({
    firstPause: 100,
    fetch(input, init) {
      const lastId = new Headers(init?.headers).get("Last-Event-ID");
      if (lastId) console.log(JSON.stringify({ broken: lastId }));
      return fetch(input, init);
    },
  });
}

const agent = new HttpAgent({
  url: `${url}/agent`,
  headers,
  threadId,
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
console.log(JSON.stringify({ end, messages: agent.messages }));

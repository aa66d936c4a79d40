/**
 * A stock agent of AG-UI: run once; with `resume`, go on where the connection broke, and with `tries`,
 * run again while it fails.
 *
 * Prints a line of JSON for each event, and at the end what the client has made of them.
 */

import { HttpAgent } from "@ag-ui/client";

const { url, headers, runId, threadId, props, cancelAt, resume, tries = 1 } = JSON.parse(process.argv[2]);

// Where a body breaks, the client also rejects a promise that nobody has: a browser prints that.
process.on("unhandledRejection", () => {});

/** Fetch a run; where its body breaks, go on after the last event that arrived whole. */
async function resumableFetch(path, options) {
  const first = await fetch(path, options);
  if (!first.ok) return first;
  const decoder = new TextDecoder();
  let lastId = "";
  let rest = "";
  const body = new ReadableStream({
    async start(controller) {
      for (let response = first; ; response = await again()) {
        if (response.status === 204) break;
        try {
          rest = "";
          for await (const chunk of response.body) take(decoder.decode(chunk, { stream: true }));
          break;
        } catch {
          console.log(JSON.stringify({ broken: lastId }));
        }
      }
      controller.close();

      function take(text) {
        const frames = (rest + text).split("\n\n");
        rest = frames.pop();
        for (const frame of frames) {
          if (frame.includes('"code":"resume"')) throw new Error("There is more.");
          lastId = frame.match(/^id: (.*)$/m)?.[1] ?? lastId;
          controller.enqueue(new TextEncoder().encode(`${frame}\n\n`));
        }
      }
    },
  });
  return new Response(body, { headers: first.headers });

  async function again() {
    for (;;) {
      const response = await fetch(`${url}/streams/${runId}/`, {
        headers: { ...headers, "Last-Event-ID": lastId },
      }).catch(() => null);
      if (response?.ok) return response;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
}

const agent = new HttpAgent({
  url: `${url}/agent`,
  headers,
  threadId,
  ...(resume ? { fetch: resumableFetch } : {}),
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

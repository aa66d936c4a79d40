/**
 * A stock agent of AG-UI: run once, and come back where the connection broke.
 *
 * Prints a line of JSON for each event, and at the end what the client has made of them.
 */

import { HttpAgent } from "@ag-ui/client";

const { url, headers, runId, threadId, props, cancelAt, resume } = JSON.parse(process.argv[2]);

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
async function run() {
  await agent.runAgent(
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
}

await run().catch((error) => {
  end.thrown = error.message;
});
console.log(JSON.stringify({ end, messages: agent.messages }));

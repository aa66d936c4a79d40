/**
 * A body of AG-UI, read by its client; prints how the run ended, and its messages.
 */

import { HttpAgent } from "@ag-ui/client";

const { body } = JSON.parse(process.argv[2]);

const headers = { "content-type": "text/event-stream" };
const agent = new HttpAgent({
  url: "http://localhost/",
  fetch: async () => new Response(body, { status: 200, headers }),
});
const end = {};
await agent
  .runAgent(
    {},
    {
      onRunFinishedEvent: () => void (end.finished = true),
      onRunErrorEvent: ({ event }) => void (end.error = event.code),
      onRunFailed: ({ error }) => void (end.failed = error.message),
    },
  )
  .catch((error) => void (end.thrown = error.message));
console.log(JSON.stringify({ end, messages: agent.messages }));

/**
 * A body of the UI message stream protocol, read by the AI SDK; prints the message it becomes.
 */

const { version, body } = JSON.parse(process.argv[2]);
const { DefaultChatTransport, readUIMessageStream } = await import(version);

const headers = { "content-type": "text/event-stream" };
const transport = new DefaultChatTransport({
  api: "http://localhost/",
  fetch: async () => new Response(body, { status: 200, headers }),
});
const stream = await transport.sendMessages({ chatId: "c", messages: [], trigger: "submit-message" });
let last;
const terminateOnError = true;
for await (const message of readUIMessageStream({ stream, terminateOnError })) last = message;
console.log(JSON.stringify(last));

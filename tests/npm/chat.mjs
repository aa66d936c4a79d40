/**
 * A stock chat of the AI SDK, without React: ask once, and come back while it says that it failed.
 * With `client`, its `fetch` is that of client.js; with `cuts`, the connection breaks at these bytes.
 *
 * Prints what the user sees: a line of JSON for each state, and at the end of each request.
 */

import { cutsBefore } from "./cuts.mjs";

const { version, api, headers, body, client, cuts } = JSON.parse(process.argv[2]);
const { AbstractChat, DefaultChatTransport } = await import(version);
const { createFetch } = client ? await import(client) : {};
const proxy = cuts && (await cutsBefore(api));
if (proxy) proxy.plan("chat", cuts);

/** What `useChat` keeps in React. */
class State {
  #status = "ready";
  error = undefined;
  messages = [];
  get status() {
    return this.#status;
  }
  set status(status) {
    this.#status = status;
    show();
  }
  pushMessage = (message) => this.messages.push(message);
  popMessage = () => this.messages.pop();
  replaceMessage = (index, message) => {
    this.messages[index] = message;
    show();
  };
  snapshot = structuredClone;
}

class Chat extends AbstractChat {
  constructor(init) {
    super({ ...init, state: new State() });
  }
}

const chat = new Chat({
  id: body.id,
  transport: new DefaultChatTransport({
    api: proxy ? `${proxy.url}/chat` : api,
    headers: proxy ? { ...headers, "X-Case": "chat" } : headers,
    body,
    fetch: createFetch?.({ firstPause: 20, longestPause: 500 }),
  }),
});

function show() {
  const text = chat.messages
    .filter((message) => message.role === "assistant")
    .flatMap((message) => message.parts)
    .filter((part) => part.type === "text")
    .map((part) => part.text)
    .join("");
  console.log(JSON.stringify({ status: chat.status, error: chat.error?.message ?? null, text }));
}

await chat.sendMessage({ text: "Count." });
for (let tries = 0; chat.status === "error" && tries < 100; tries += 1) {
  await new Promise((resolve) => setTimeout(resolve, 100));
  // A resume replays the answer from its start: what was here of it would be there twice.
  if (chat.lastMessage?.role === "assistant") chat.messages = chat.messages.slice(0, -1);
  await chat.resumeStream();
}

if (proxy) {
  if (proxy.made("chat") < cuts.length) throw new Error(`${proxy.made("chat")} cuts were made.`);
  proxy.close();
}

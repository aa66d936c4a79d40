/**
 * The chat of a page that loses its connection again and again, each time with a reload: `useChat` with
 * the messages of the history, and `resume: true`, without React. Prints the messages at the end.
 */

const { version, api, headers, id, questions, cuts, seed, keep } = JSON.parse(process.argv[2]);
const { AbstractChat, DefaultChatTransport, lastAssistantMessageIsCompleteWithToolCalls } = await import(version);

let state = seed;
function random() {
  state = (state * 1103515245 + 12345) % 2 ** 31; // the same points at each run
  return state / 2 ** 31;
}

let left = cuts;
let isCutting = true;

/** Break a body at a random byte, as a lost network does. */
async function fetchAndCut(url, options) {
  const response = await fetch(url, options);
  if (!isCutting || left <= 0 || response.status !== 200) return response;
  left -= 1;
  let bytes = 1 + Math.floor(random() * 1500);
  const body = response.body.pipeThrough(
    new TransformStream({
      transform(chunk, controller) {
        controller.enqueue(chunk.subarray(0, bytes));
        bytes -= chunk.length;
        if (bytes <= 0) controller.error(new TypeError("network error"));
      },
    }),
  );
  return new Response(body, response);
}

class State {
  status = "ready";
  error = undefined;
  constructor(messages) {
    this.messages = messages;
  }
  pushMessage = (message) => (this.messages = [...this.messages, message]);
  popMessage = () => (this.messages = this.messages.slice(0, -1));
  replaceMessage = (index, message) => (this.messages = this.messages.with(index, structuredClone(message)));
  snapshot = structuredClone;
}

class Chat extends AbstractChat {
  constructor(messages) {
    super({
      id,
      transport: new DefaultChatTransport({ api, headers, fetch: fetchAndCut }),
      state: new State(messages),
      sendAutomaticallyWhen: lastAssistantMessageIsCompleteWithToolCalls,
    });
  }
}

const load = async () => (await (await fetch(`${api}/${id}`, { headers })).json()).messages;

async function settled(chat) {
  while (["submitted", "streaming"].includes(chat.status)) await new Promise((r) => setTimeout(r, 10));
  return chat;
}

/** Reload the page; or stay on it, and take the messages of the history. */
async function comeBack(chat) {
  const again = keep ? chat : new Chat(await load());
  if (keep) again.messages = await load();
  await again.resumeStream();
  return settled(again);
}

/** Follow an answer to its end, through all disconnects; an answer may have ended in between. */
async function follow(chat) {
  while (chat.status === "error") chat = await comeBack(chat);
  if (chat.lastMessage?.metadata?.status === "running" && !chat.lastMessage.parts.length) chat = await follow(new Chat(await load()));
  return chat;
}

const waiting = (chat) => chat.lastMessage?.parts.findLast((part) => part.state === "input-available");

let chat = new Chat(await load());
for (const text of questions) {
  await chat.sendMessage({ text });
  chat = await follow(await settled(chat));
  for (let call = waiting(chat); call; call = waiting(chat)) {
    await chat.addToolOutput({ tool: "where", toolCallId: call.toolCallId, output: "Here." });
    await new Promise((r) => setTimeout(r, 50));
    chat = await follow(await settled(chat));
  }
}
isCutting = false;
console.log(JSON.stringify({ messages: chat.messages, left, history: await load() }));
process.exit(0);

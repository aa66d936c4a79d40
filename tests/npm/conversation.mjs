/**
 * The chat of a page that loses its connection again and again, each time with a reload: `useChat` with
 * the messages of the history, and `resume: true`, without React. Asks the last question again while
 * there are cuts to make. Prints the messages at the end, the history, what was asked, and the cuts.
 */

import { cutsBefore } from "./cuts.mjs";
import { randomCuts } from "./random_cuts.mjs";

const { version, api, headers, id, questions, cuts, seed, longest, keep } = JSON.parse(process.argv[2]);
const { AbstractChat, DefaultChatTransport, lastAssistantMessageIsCompleteWithToolCalls } = await import(version);

const proxy = await cutsBefore(api);
const cutApi = `${proxy.url}${new URL(api).pathname}`;
const plan = randomCuts(cuts, { seed, longest });

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
      transport: new DefaultChatTransport({ api: cutApi, headers: { ...headers, "X-Case": "chat" } }),
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

const share = Math.ceil(cuts / questions.length);
const asked = [];
let chat = new Chat(await load());
while (asked.length < questions.length || proxy.made("chat") < cuts) {
  proxy.plan("chat", [...proxy.left("chat"), ...plan.splice(0, share)]);
  asked.push(questions[asked.length] ?? questions.at(-1));
  await chat.sendMessage({ text: asked.at(-1) });
  chat = await follow(await settled(chat));
  for (let call = waiting(chat); call; call = waiting(chat)) {
    await chat.addToolOutput({ tool: "where", toolCallId: call.toolCallId, output: "Here." });
    await new Promise((r) => setTimeout(r, 50));
    chat = await follow(await settled(chat));
  }
}
const found = { messages: chat.messages, asked, cuts: proxy.made("chat"), history: await load() };
process.stdout.write(JSON.stringify(found), () => process.exit(0));

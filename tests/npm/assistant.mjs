/**
 * assistant-ui in a page that loses its connection again and again, each time with a reload: its runtime
 * over `useChat({resume: true})` and its thread, in jsdom, behind a proxy that cuts. Asks the last
 * question again while there are cuts to make; with `edit`, asks this in place of the last question.
 *
 * Prints the messages of the page at the end, the history, what was asked, and the cuts.
 */

import { JSDOM } from "jsdom";

import { cutsBefore } from "./cuts.mjs";
import { randomCuts } from "./random_cuts.mjs";

const { url, headers, id, questions, edit, cuts, seed, longest } = JSON.parse(process.argv[2]);

process.env.NODE_ENV = "production";
const proxy = await cutsBefore(url);
const { window } = new JSDOM('<div id="root"></div>', { url: proxy.url, pretendToBeVisual: true });
globalThis.window = window;
for (const name of ["document", "navigator", "HTMLElement", "Node", "MutationObserver"]) globalThis[name] ??= window[name];
for (const name of ["requestAnimationFrame", "cancelAnimationFrame"]) globalThis[name] = window[name].bind(window);

const { createElement } = await import("react");
const { createRoot } = await import("react-dom/client");
const { useChat } = await import("@ai-sdk/react");
const { DefaultChatTransport } = await import("ai");
const { AssistantRuntimeProvider, MessagePrimitive, ThreadPrimitive, getExternalStoreMessages, useAui, useAuiState } =
  await import("@assistant-ui/react");
const { useAISDKRuntime } = await import("@assistant-ui/react-ai-sdk");

/** A question that is edited keeps its id: the server replaces it, and drops what followed. */
const toCreateMessage = ({ sourceId, content }) => ({ id: sourceId ?? undefined, role: "user", parts: content });

function Assistant({ chat, children }) {
  const own = useChat({
    id: chat.id,
    messages: chat.messages,
    resume: true,
    transport: new DefaultChatTransport({
      api: `${proxy.url}/api/chat`,
      headers: { ...headers, "X-Case": "chat" },
      prepareReconnectToStreamRequest: () => ({
        api: `${proxy.url}/api/chat/${chat.id}/stream?stream=${chat.running ?? ""}`,
      }),
    }),
  });
  const runtime = useAISDKRuntime(own, { toCreateMessage });
  return createElement(AssistantRuntimeProvider, { runtime }, children);
}

let page;

function Probe() {
  page.thread = useAui().thread;
  page.state = useAuiState((state) => state.thread);
}

const Message = () => createElement(MessagePrimitive.Root, { className: "message" }, createElement(MessagePrimitive.Content));

const load = async () => (await fetch(`${url}/api/chat/${id}`, { headers })).json();

async function reload() {
  page?.root.unmount();
  page = { root: createRoot(document.getElementById("root")), chat: await load() };
  const thread = createElement(ThreadPrimitive.Messages, null, () => createElement(Message));
  page.root.render(createElement(Assistant, { chat: page.chat }, thread, createElement(Probe)));
  await until(() => page.state);
}

async function until(isSo) {
  const end = Date.now() + 30_000;
  while (!isSo()) {
    if (Date.now() > end) throw new Error(`In vain: ${isSo}, ${JSON.stringify(page.state?.messages.at(-1))}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** Tell that the last answer is whole, or that the page shows an error in its place. */
function isSettled() {
  const { isRunning, messages } = page.state;
  if (isRunning || messages.length < 2 * asked.length) return false;
  const { status, content } = messages.at(-1);
  return status.type === "incomplete" || content.length > 0;
}

/** Follow an answer to its end, through all disconnects. */
async function follow() {
  await until(isSettled);
  if (page.state.messages.at(-1).status.type === "complete") return;
  await reload();
  await follow();
}

const textOf = ({ content }) => content.map(({ text }) => text ?? "").join("");
const shown = () => [...document.querySelectorAll(".message")].map((one) => one.textContent);

const plan = randomCuts(cuts, { seed, longest });
const share = Math.ceil(cuts / questions.length);
const asked = [];
await reload();
while (asked.length < questions.length || proxy.made("chat") < cuts) {
  proxy.plan("chat", [...proxy.left("chat"), ...plan.splice(0, share)]);
  asked.push(questions[asked.length] ?? questions.at(-1));
  page.thread().append(asked.at(-1));
  await follow();
}
if (edit) {
  const { id: sourceId } = page.state.messages.at(-2);
  const parentId = page.state.messages.at(-3)?.id ?? null;
  asked.splice(-1, 1, edit);
  page.thread().append({ sourceId, parentId, role: "user", content: [{ type: "text", text: edit }] });
  await until(() => page.state.messages.some((message) => textOf(message) === edit));
  await follow();
}

await until(() => shown().join() === page.state.messages.map(textOf).join()); // words appear one by one
const messages = page.state.messages.flatMap(getExternalStoreMessages);
const found = { messages, asked, cuts: proxy.made("chat"), history: (await load()).messages };
process.stdout.write(JSON.stringify(found), () => process.exit(0));

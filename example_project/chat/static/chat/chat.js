/** The chat page: what was said, what is being said, and how the connection is doing. */

import { render } from "./markdown.js";
import { followBySocket } from "./socket.js";
import { follow } from "./stream.js";

const boot = JSON.parse(document.getElementById("boot").textContent);
const api = boot.api;
const chatUrl = `${api}/${encodeURIComponent(boot.chat.id)}`;
const list = document.getElementById("messages");
const empty = document.getElementById("empty");
const form = document.getElementById("composer");
const input = document.getElementById("question");
const send = document.getElementById("send");
const stop = document.getElementById("stop");
const status = document.getElementById("status");
const statusText = document.getElementById("status-text");
const statusBytes = document.getElementById("status-bytes");
const bySocket = document.getElementById("by-socket"); // from the next answer on
const tabs = new BroadcastChannel(`chat:${boot.chat.id}`);
const kept = `answer:${boot.chat.id}`; // in the session storage: what this tab has of the answer

let answer = null; // the answer that is being read: {id, streamId, epoch, offset, text, leave}

// --- what the page shows ------------------------------------------------------------------------

const number = new Intl.NumberFormat(document.documentElement.lang);

function show(state, text, offset) {
  status.dataset.state = state;
  if (statusText.textContent !== text) statusText.textContent = text;
  showBytes(offset);
}

function showBytes(offset) {
  statusBytes.textContent = offset === undefined ? "" : `${number.format(offset)} bytes`;
}

function showBusy(busy) {
  const focused = document.activeElement;
  stop.ariaDisabled = "false";
  send.hidden = busy;
  stop.hidden = !busy;
  // A button that goes takes the focus with it: hand it on.
  if (busy && focused === send) stop.focus();
  if (!busy && focused === stop) input.focus();
}

/** Run `change`, and stay at the end of the page if that is where the reader was. */
function keepingEnd(change) {
  const page = document.scrollingElement;
  const atEnd = page.scrollHeight - page.scrollTop - page.clientHeight < 80;
  change();
  if (atEnd) page.scrollTop = page.scrollHeight;
}

/** Return the element of a message, new or not. */
function elementOf({ id, role }) {
  const found = [...list.children].find((element) => element.dataset.id === id);
  if (found) return found;
  const element = document.createElement("li");
  element.dataset.id = id;
  element.className = `message ${role}`;
  const who = document.createElement("span");
  who.className = "visually-hidden";
  who.textContent = role === "user" ? "You:" : "Answer:";
  const body = document.createElement("div");
  body.className = "body";
  element.append(who, body);
  list.append(element);
  empty.hidden = true;
  return element;
}

function showMessage(message) {
  const element = elementOf(message);
  const body = element.querySelector(".body");
  if (message.role === "user") body.textContent = textOf(message);
  else render(body, textOf(message));
  element.dataset.status = message.metadata?.status ?? "complete";
  return element;
}

const textOf = ({ parts }) =>
  parts.filter((part) => part.type === "text").map((part) => part.text).join("");

/** Make a message of text, as the server has them. */
const messageOf = (id, role, text, status) => ({
  id,
  role,
  parts: [{ type: "text", text }],
  metadata: { status },
});

function showWaiting() {
  document.getElementById("waiting")?.remove();
  const element = document.getElementById("waiting-template").content.firstElementChild;
  keepingEnd(() => list.append(element.cloneNode(true)));
}

function showHistory(chat) {
  const ids = new Set(chat.messages.map((message) => message.id));
  for (const element of [...list.children]) {
    if (!ids.has(element.dataset.id) && element.dataset.id !== answer?.id) element.remove();
  }
  // The one that is being written comes with its stream.
  chat.messages.filter(({ metadata }) => metadata.status !== "running").forEach(showMessage);
  if (answer) document.getElementById("waiting") ?? showWaiting();
}

// --- reading an answer --------------------------------------------------------------------------

/** Read one answer to its end; `known` is what this tab has of it from before a reload. */
async function read(open, { joining = false, known = null } = {}) {
  answer?.leave();
  const controller = new AbortController();
  const current = { id: null, text: "", offset: 0, ...known, leave: () => controller.abort() };
  answer = current;
  showBusy(true);
  show("waiting", "Waiting for the first words");
  if (current.id) drawAnswer(current);
  else showWaiting();
  const end = await (bySocket.checked ? followBySocket : follow)(open, {
    known: known && { id: known.streamId, epoch: known.epoch, offset: known.offset },
    joining,
    onPart: (part, position) => takePart(current, part, position),
    onState: (state) => showConnection(current, state),
    signal: controller.signal,
  }).catch((error) => ({ outcome: "failed", detail: error.message, offset: current.offset }));
  if (answer === current) keepingEnd(() => finish(current, end));
}

function takePart(current, part, { id, epoch, offset }) {
  current.streamId = id;
  current.epoch = epoch;
  current.offset = offset;
  if (part.type === "start") {
    current.id = part.messageId;
    current.text = "";
  }
  if (part.type === "text-delta") {
    current.text += part.delta;
    if (status.dataset.state === "waiting") show("live", "Live", offset);
  }
  current.frame ??= requestAnimationFrame(() => {
    current.frame = null;
    if (answer === current) drawAnswer(current);
  });
}

function drawAnswer(current) {
  if (!current.text) return;
  document.getElementById("waiting")?.remove();
  keepingEnd(() => {
    const element = showMessage(messageOf(current.id, "assistant", current.text, "streaming"));
    element.setAttribute("aria-busy", "true"); // read out once, when it is whole
  });
  if (status.dataset.state === "live") showBytes(current.offset);
}

function showConnection(current, { name, offset, wait }) {
  if (name === "offline") {
    const seconds = Math.max(1, Math.round(wait / 1000));
    show("offline", `Offline at byte ${number.format(offset)}. Next try in ${seconds} s`);
  } else if (name === "resumed") {
    show("live", `Live, resumed at byte ${number.format(offset)}`, offset);
  } else if (current.text) {
    show("live", "Live", offset);
  }
}

function finish(current, { outcome, offset, detail }) {
  cancelAnimationFrame(current.frame);
  if (current.id) drawAnswer(current);
  answer = null;
  sessionStorage.removeItem(kept);
  document.getElementById("waiting")?.remove();
  showBusy(false);
  const element = current.id && elementOf({ id: current.id, role: "assistant" });
  element?.removeAttribute("aria-busy");
  const shown = { ended: "complete", stopped: "stopped", failed: "failed" }[outcome];
  if (element && shown) element.dataset.status = shown;
  if (outcome === "ended") show("ended", "Ended", offset);
  else if (outcome === "stopped") show("stopped", "Stopped", offset);
  else if (outcome === "failed") show("failed", `Failed: ${detail}`);
  else if (outcome === "gone") show("failed", "This answer is not kept any more");
  else if (outcome === "busy") show("failed", "Another answer is still being written here");
  else show("idle", "Ready");
  if (["gone", "none", "busy"].includes(outcome)) refresh();
}

// --- asking, stopping, keeping up ---------------------------------------------------------------

function post(url, body, signal) {
  const token = /(?:^|; )csrftoken=([^;]+)/.exec(document.cookie)?.[1] ?? "";
  return fetch(url, {
    method: "POST",
    headers: { "Content-Type": "application/json", "X-CSRFToken": token },
    body: JSON.stringify(body),
    signal,
  });
}

function ask(text) {
  const id = newId();
  keepingEnd(() => showMessage(messageOf(id, "user", text)));
  document.scrollingElement.scrollTop = document.scrollingElement.scrollHeight;
  const message = messageOf(id, "user", text);
  const body = { id: boot.chat.id, messages: [message], trigger: "submit-message" };
  // The server knows a message by its id: asking again after a cut joins the same answer.
  return read(async (signal) => {
    const response = await post(api, body, signal);
    if (response.ok) tabs.postMessage("asked");
    return response;
  });
}

const newId = () =>
  [...crypto.getRandomValues(new Uint8Array(12))]
    .map((byte) => byte.toString(16).padStart(2, "0"))
    .join("");

/** Get what was said from the server, and join the answer that is being written, if any. */
async function refresh() {
  if (answer) return;
  const response = await fetch(chatUrl).catch(() => null);
  if (!response?.ok || answer) return;
  const chat = await response.json();
  keepingEnd(() => showHistory(chat));
  if (chat.running) join(chat);
}

function join(chat) {
  const known = JSON.parse(sessionStorage.getItem(kept) ?? "null");
  sessionStorage.removeItem(kept);
  return read((signal) => fetch(`${chatUrl}/stream`, { signal }), {
    joining: true,
    known: known?.streamId === chat.running ? known : null,
  });
}

async function halt() {
  if (!answer || stop.ariaDisabled === "true") return;
  stop.ariaDisabled = "true"; // not disabled: that would take the focus away
  const response = await post(`${chatUrl}/stop`, {}).catch(() => null);
  if (!response?.ok) stop.ariaDisabled = "false";
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  const text = input.value.trim();
  if (!text || answer) return;
  input.value = "";
  fit();
  ask(text);
});

input.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  form.requestSubmit();
});

addEventListener("keydown", (event) => {
  if (event.key === "Escape") halt();
});

stop.addEventListener("click", halt);
input.addEventListener("input", fit);
for (const button of document.querySelectorAll("[data-question]")) {
  button.addEventListener("click", () => ask(button.dataset.question));
}

function fit() {
  input.style.height = "auto";
  input.style.height = `${Math.min(input.scrollHeight, 200)}px`;
}

// A reload goes on at the byte where this page was; other tabs and devices start at the first.
addEventListener("pagehide", () => {
  if (!answer?.id) return;
  const { id, streamId, epoch, offset, text } = answer;
  sessionStorage.setItem(kept, JSON.stringify({ id, streamId, epoch, offset, text }));
});
tabs.addEventListener("message", refresh);
document.addEventListener("visibilitychange", () => {
  if (document.visibilityState === "visible") refresh();
});

bySocket.checked = localStorage.getItem("by-socket") === "yes";
bySocket.addEventListener("change", () => {
  localStorage.setItem("by-socket", bySocket.checked ? "yes" : "no");
});

showHistory(boot.chat);
if (boot.chat.running) join(boot.chat);
else show("idle", "Ready");
document.scrollingElement.scrollTop = document.scrollingElement.scrollHeight;

/** The chat page: what was said, what is being said, and how the connection is doing. */

import { Answer } from "./answer.js";
import * as messages from "./messages.js";
import { Panel } from "./panel.js";
import { Wire } from "./wire.js";

const { keepingEnd, messageOf } = messages;
const part = (id) => document.getElementById(id);
const boot = JSON.parse(part("boot").textContent);
const chatUrl = `${boot.api}/${encodeURIComponent(boot.chat.id)}`;
const [form, input, send, stop] = ["composer", "question", "send", "stop"].map(part);
const tabs = new BroadcastChannel(`chat:${boot.chat.id}`);
const kept = `answer:${boot.chat.id}`; // in the session storage: what this tab has of the answer
const LIST_PAUSE = 5_000; // milliseconds between two looks at answers that this page does not read

const wire = new Wire();
const panel = new Panel(wire, post, boot.urls);
let answer = null; // the one that is being read

// --- how it is going ----------------------------------------------------------------------------

const number = new Intl.NumberFormat(document.documentElement.lang);

// A live region: it changes with the state, not with each word.
function show(state, text) {
  part("status").dataset.state = state;
  if (part("status-text").textContent !== text) part("status-text").textContent = text;
}

function showBusy(isBusy) {
  const focused = document.activeElement;
  stop.ariaDisabled = "false";
  send.hidden = isBusy;
  stop.hidden = !isBusy;
  document.body.classList.toggle("busy", isBusy);
  // A button that goes takes the focus with it: hand it on.
  if (isBusy && focused === send) stop.focus();
  if (!isBusy && focused === stop) input.focus();
}

function showConnection(current, { state, offset, wait }) {
  if (answer !== current) return;
  if (state === "waiting") {
    const seconds = Math.max(1, Math.round(wait / 1000));
    show("waiting", `No connection at byte ${number.format(offset)}. Next try in ${seconds} s`);
  } else if (state === "resumed") {
    show("live", offset ? `Live, resumed at byte ${number.format(offset)}` : "Live");
  } else if (state === "live") {
    show("connecting", "Waiting for the first words");
    tabs.postMessage("asked");
    showList();
  }
}

// --- reading an answer --------------------------------------------------------------------------

/** Read one answer to its end; `known` is what this tab has of it from before a reload. */
async function read(request, known) {
  answer?.stream.close();
  const current = (answer = new Answer(request, { fetch: wire.fetch, known }));
  current.addEventListener("text", () => drawSoon(current));
  current.addEventListener("state", (event) => showConnection(current, event));
  panel.watch(current);
  showBusy(true);
  show("connecting", "Waiting for the first words");
  if (current.text) draw(current);
  else messages.showWaiting();
  part("empty").hidden = true;
  const end = await current.read();
  if (answer === current) keepingEnd(() => finish(current, end));
}

function drawSoon(current) {
  current.frame ??= requestAnimationFrame(() => {
    current.frame = null;
    if (answer === current) draw(current);
  });
}

function draw(current) {
  if (!current.text) return;
  messages.hideWaiting();
  if (part("status").dataset.state === "connecting" && current.state === "live") show("live", "Live");
  keepingEnd(() => {
    const element = messages.showMessage(messageOf(current.id, "assistant", current.text, "streaming"));
    element.setAttribute("aria-busy", "true"); // read out once, when it is whole
  });
}

const STATUS = { done: "complete", cancelled: "stopped", failed: "failed" };

function finish(current, { outcome, detail }) {
  cancelAnimationFrame(current.frame);
  draw(current);
  answer = null;
  sessionStorage.removeItem(kept);
  messages.hideWaiting();
  showBusy(false);
  const element = messages.findMessage(current.id);
  element?.removeAttribute("aria-busy");
  if (element && STATUS[outcome]) element.dataset.status = STATUS[outcome];
  const lost = "Failed: the process that wrote the answer is gone. Retry starts another";
  if (outcome === "done") show("ended", "Ended");
  else if (outcome === "cancelled") show("ended", "Stopped");
  else if (outcome === "busy") show("failed", "Another answer is still being written here");
  else if (detail?.includes("producer_lost")) show("failed", lost);
  else if (outcome === "failed") show("failed", `Failed: ${detail}`);
  else show("idle", "Ready");
  if (["gone", "busy"].includes(outcome)) refresh();
  showList();
}

// --- asking, stopping, keeping up ---------------------------------------------------------------

async function post(url) {
  const token = /(?:^|; )csrftoken=([^;]+)/.exec(document.cookie)?.[1] ?? "";
  return fetch(url, { method: "POST", headers: { "X-CSRFToken": token } });
}

/** Ask, and read the answer. The server knows a message by its id: a second try joins the first. */
function ask(text, { id = newId(), ...more } = {}) {
  const message = messageOf(id, "user", text);
  messages.showMessage(message);
  messages.showEnd();
  const body = { id: boot.chat.id, message, trigger: "submit-message", ...more };
  return read({ url: boot.api, method: "POST", body });
}

const newId = () =>
  [...crypto.getRandomValues(new Uint8Array(12))]
    .map((byte) => byte.toString(16).padStart(2, "0"))
    .join("");

function edit(element) {
  messages.editMessage(element, (text) => {
    if (answer) return;
    messages.dropFrom(element, { isKept: true });
    ask(text, { id: element.dataset.id, messageId: element.dataset.id });
  });
}

function retry(element) {
  const messageId = element.dataset.id;
  messages.dropFrom(element);
  const body = { id: boot.chat.id, trigger: "regenerate-message", messageId };
  read({ url: boot.api, method: "POST", body });
  input.focus();
}

/** Get what was said from the server, and join the answer that is being written, if any. */
async function refresh() {
  if (answer) return;
  const response = await fetch(chatUrl).catch(() => null);
  if (!response?.ok || answer) return;
  const chat = await response.json();
  if (answer) return;
  keepingEnd(() => messages.showHistory(chat.messages));
  if (chat.running) join(chat);
}

function join(chat) {
  const known = JSON.parse(sessionStorage.getItem(kept) ?? "null");
  sessionStorage.removeItem(kept);
  if (known?.streamId === chat.running) read(`/streams/${known.streamId}/`, known);
  else read(`${chatUrl}/stream`);
}

async function halt() {
  if (!answer || stop.ariaDisabled === "true") return;
  stop.ariaDisabled = "true"; // not disabled: that would take the focus away
  await answer.stream.stop().catch(() => (stop.ariaDisabled = "false"));
}

// --- the list of conversations ------------------------------------------------------------------

let looking;

async function showList() {
  clearTimeout(looking);
  const response = await fetch(boot.api).catch(() => null);
  if (!response?.ok) return;
  const { conversations } = await response.json();
  drawList(conversations);
  // The answer of this page may have ended a moment ago, and not be saved yet.
  const isUnread = conversations.some(({ id, running }) => running && !(answer && id === boot.chat.id));
  if (isUnread && !document.hidden) looking = setTimeout(showList, LIST_PAUSE);
}

function drawList(conversations) {
  const entries = conversations.map(({ id, title, running }) => {
    const entry = part("conversation-template").content.firstElementChild.cloneNode(true);
    const link = entry.querySelector("a");
    link.href = `?${new URLSearchParams({ chat: id })}`;
    link.querySelector(".title").textContent = title;
    link.querySelector(".running").hidden = !running;
    if (id === boot.chat.id) link.ariaCurrent = "page";
    return entry;
  });
  const index = [...part("conversations").children].findIndex((entry) => entry.contains(document.activeElement));
  part("conversations").replaceChildren(...entries);
  entries[index]?.querySelector("a").focus();
  const here = conversations.find(({ id }) => id === boot.chat.id);
  part("title").textContent = here?.title || "New chat";
  document.title = `${here?.title || "New chat"} – Resumable chat`;
}

// --- what people do -----------------------------------------------------------------------------

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

input.addEventListener("input", fit);

function fit() {
  input.style.height = "auto";
  input.style.height = `${Math.min(input.scrollHeight, 200)}px`;
}

part("messages").addEventListener("click", ({ target }) => {
  const element = target.closest(".message");
  if (target.dataset.action && answer) return;
  if (target.dataset.action === "edit") edit(element);
  if (target.dataset.action === "retry") retry(element);
});

for (const button of document.querySelectorAll("[data-question]")) {
  button.addEventListener("click", () => {
    input.focus();
    if (!answer) ask(button.dataset.question);
  });
}

stop.addEventListener("click", halt);

// On a narrow screen the two sides are drawers.
const drawers = [...document.querySelectorAll("[data-drawer]")];

function open(name) {
  document.body.dataset.open = name;
  for (const button of drawers) button.ariaExpanded = String(button.dataset.drawer === name);
}

for (const button of drawers) {
  button.addEventListener("click", () => {
    const isOpen = button.ariaExpanded === "true";
    open(isOpen ? "" : button.dataset.drawer);
  });
}

addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  const button = drawers.find(({ ariaExpanded }) => ariaExpanded === "true");
  if (!button) return halt();
  open("");
  button.focus();
});

// A reload goes on at the byte where this page was; other tabs and devices start at the first.
addEventListener("pagehide", () => {
  if (answer?.id && answer.stream.id) sessionStorage.setItem(kept, JSON.stringify(answer.position));
});
tabs.addEventListener("message", () => {
  refresh();
  showList();
});
document.addEventListener("visibilitychange", () => {
  if (document.hidden) return;
  refresh();
  showList();
});

part("tab").href = `?${new URLSearchParams({ chat: boot.chat.id })}`;
drawList(boot.conversations);
messages.showHistory(boot.chat.messages);
if (boot.chat.running) join(boot.chat);
else show("idle", "Ready");
messages.showEnd();

/** The messages of a conversation, as the page shows them. */

import { copyButton, render } from "./markdown.js";

const list = document.getElementById("messages");
const page = document.getElementById("page");

/** Make a message of text, as the server has them. */
export const messageOf = (id, role, text, status) => ({
  id,
  role,
  parts: [{ type: "text", text }],
  metadata: { status },
});

// Markdown at the end of a text that goes on, such as the first half of "**bold**", or "\n2." of a list.
const HALF_A_MARK = /(?:\n\s*(?:\d+\.?|[-#>]+)|[*`]+)\s*$/;

const textOf = ({ parts }) =>
  parts.filter((part) => part.type === "text").map((part) => part.text).join("");

/** Run `change`, and stay at the end of the page if that is where the reader was. */
export function keepingEnd(change) {
  const atEnd = page.scrollHeight - page.scrollTop - page.clientHeight < 80;
  change();
  if (atEnd) showEnd();
}

export function showEnd() {
  page.scrollTop = page.scrollHeight;
}

export const findMessage = (id) => [...list.children].find((element) => element.dataset.id === id);

/** Show a message, new or not; return its element. */
export function showMessage(message) {
  const element = findMessage(message.id) ?? newElement(message);
  const body = element.querySelector(".body");
  const status = message.metadata?.status ?? "complete";
  element.text = textOf(message);
  if (message.role === "user") body.textContent = element.text;
  else render(body, status === "streaming" ? element.text.replace(HALF_A_MARK, "") : element.text);
  element.dataset.status = status;
  return element;
}

function newElement({ id, role }) {
  const element = document.getElementById(`${role}-template`).content.firstElementChild.cloneNode(true);
  element.dataset.id = id;
  if (role === "assistant") {
    element.querySelector(".actions").prepend(copyButton("Copy the answer", () => element.text));
  }
  list.append(element);
  return element;
}

/** Show the messages of a history, and nothing else but the one that is being written, `writing`. */
export function showHistory(messages, writing) {
  const ids = new Set(messages.map(({ id }) => id));
  for (const element of [...list.children]) {
    if (!ids.has(element.dataset.id) && element.dataset.id !== writing) element.remove();
  }
  // The one that is being written comes with its stream.
  messages.filter(({ metadata }) => metadata.status !== "running").forEach(showMessage);
}

/** Remove a message and all that follow; `isKept`: all that follow. */
export function dropFrom(element, { isKept = false } = {}) {
  while (element.nextElementSibling) element.nextElementSibling.remove();
  if (!isKept) element.remove();
}

/** Turn a question into a form; `submit(text)` is called with another text. */
export function editMessage(element, submit) {
  const form = document.getElementById("edit-template").content.firstElementChild.cloneNode(true);
  const input = form.querySelector("textarea");
  const close = () => {
    form.remove();
    element.classList.remove("editing");
    element.querySelector("[data-action=edit]").focus();
  };
  input.value = element.text;
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const text = input.value.trim();
    close();
    if (text && text !== element.text) submit(text);
  });
  form.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    event.stopPropagation();
    close();
  });
  form.querySelector("[data-action=cancel]").addEventListener("click", close);
  element.classList.add("editing");
  element.append(form);
  input.focus();
}

export function showWaiting() {
  hideWaiting();
  const element = document.getElementById("waiting-template").content.firstElementChild;
  keepingEnd(() => list.append(element.cloneNode(true)));
}

export function hideWaiting() {
  document.getElementById("waiting")?.remove();
}

/**
 * Show a little Markdown: headings, lists, quotes, code, bold, emphasis, links.
 *
 * Elements are made one by one and text enters as text, so nothing in an answer can become markup.
 */

const INLINE =
  /`([^`]+)`|\*\*([^*]+)\*\*|\*([^*\s][^*]*)\*|\[([^\]]+)\]\((https?:\/\/[^\s)]+)\)/g;
const ITEM = /^\s*(?:[-*]|(\d+)\.)\s+(.*)$/;

/** Render `source` into `root`, touching only the blocks that changed since the last time. */
export function render(root, source) {
  const blocks = split(source);
  blocks.forEach((block, index) => {
    const old = root.children[index];
    if (old?.blockSource === block) return;
    const element = draw(block);
    element.blockSource = block;
    if (old) old.replaceWith(element);
    else root.append(element);
  });
  while (root.children.length > blocks.length) root.lastElementChild.remove();
}

/** Split at blank lines, but not inside a code fence. */
function split(source) {
  const blocks = [];
  let block = [];
  let fenced = false;
  const close = () => {
    if (block.length) blocks.push(block.join("\n"));
    block = [];
  };
  for (const line of source.split("\n")) {
    const fence = line.startsWith("```");
    if (!fenced && (fence || /^#{1,6} /.test(line) || line.trim() === "")) close();
    if (fence) fenced = !fenced;
    if (fenced || fence || line.trim() !== "") block.push(line);
    if (!fenced && (fence || /^#{1,6} /.test(line))) close();
  }
  close();
  return blocks;
}

function draw(block) {
  const lines = block.split("\n");
  if (block.startsWith("```")) return code(lines);
  const heading = /^(#{1,6}) (.*)$/.exec(block);
  if (heading) return filled(`h${Math.min(heading[1].length + 1, 6)}`, heading[2]);
  if (lines.every((line) => line.startsWith(">"))) {
    return filled("blockquote", lines.map((line) => line.replace(/^>\s?/, "")).join(" "));
  }
  if (ITEM.test(lines[0])) return list(lines);
  if (/^-{3,}$/.test(block)) return document.createElement("hr");
  return filled("p", block);
}

function code(lines) {
  const body = lines.slice(1, lines.length > 1 && lines.at(-1).startsWith("```") ? -1 : undefined);
  const root = document.createElement("div");
  root.className = "code";
  root.dataset.language = lines[0].slice(3).trim();
  const pre = document.createElement("pre");
  const inner = document.createElement("code");
  inner.textContent = body.join("\n");
  pre.tabIndex = 0; // it may scroll: the keyboard must reach it
  pre.append(inner);
  root.append(pre, copyButton("Copy code", () => inner.textContent));
  return root;
}

/** Make a button that copies what `text` returns. Its words are in the style sheet. */
export function copyButton(label, text) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "copy";
  button.ariaLabel = label;
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(text());
    button.dataset.copied = "";
    button.addEventListener("blur", () => delete button.dataset.copied, { once: true });
  });
  return button;
}

function list(lines) {
  const first = ITEM.exec(lines[0]);
  const root = document.createElement(first[1] ? "ol" : "ul");
  if (first[1]) root.start = Number(first[1]);
  const items = [];
  for (const line of lines) {
    const item = ITEM.exec(line);
    if (item) items.push(item[2]);
    else items[items.length - 1] += ` ${line.trim()}`;
  }
  root.append(...items.map((text) => filled("li", text)));
  return root;
}

function filled(name, text) {
  const element = document.createElement(name);
  let last = 0;
  for (const match of text.matchAll(INLINE)) {
    element.append(text.slice(last, match.index), inline(match));
    last = match.index + match[0].length;
  }
  element.append(text.slice(last));
  return element;
}

function inline([, codeText, bold, emphasis, label, address]) {
  if (address) {
    const link = document.createElement("a");
    link.href = address; // http and https only, by the pattern
    link.rel = "noopener noreferrer nofollow";
    link.textContent = label;
    return link;
  }
  const name = codeText ? "code" : bold ? "strong" : "em";
  const element = document.createElement(name);
  element.textContent = codeText ?? bold ?? emphasis;
  return element;
}

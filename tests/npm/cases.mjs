/** What the tests of client.js share: a server behind a proxy that cuts, and cases with a plan of cuts. */

import { after, before } from "node:test";

import { cutsBefore } from "./cuts.mjs";

const { SERVER, CLIENT } = process.env;
export const { StreamError, createFetch, follow, resume } = await import(CLIENT);
export const FRAMED = ["sse", "html", "ui_message", "ag_ui"];
export const FORMATS = ["raw", "ndjson", ...FRAMED];

export let proxy;
let cases = 0;
before(async () => (proxy = await cutsBefore(SERVER)));
after(() => proxy.close());

const CHARACTERS = ["a", "é", "€", "😀", "\n"];
export const pieces = (count) => Array.from({ length: count }, (_, number) => number + CHARACTERS[number % 5]);

/** A case of its own: {name, options, ask}. */
export function newCase(cuts = [], more = {}) {
  const name = `case-${cases++}`;
  proxy.plan(name, cuts);
  const headers = { "X-User": "me", "X-Case": name };
  const options = { firstPause: 1, longestPause: 20, ...more };
  const address = ({ format, count = 20, every = 0, query = "" }) =>
    `${proxy.url}/ask/?format=${format}&count=${count}&every=${every}${query}`;
  const ask = (how, options_ = {}) =>
    follow({ url: address(how), method: "POST", headers }, { ...options, ...options_ });
  const requests = () => proxy.requests.filter((request) => request.name === name);
  return { headers, options, address, ask, requests };
}

/** Start a stream, and return its address when it has ended. */
export async function stored(how) {
  const { ask } = newCase();
  const stream = ask(how, { as: "bytes" });
  for await (const _ of stream);
  return new URL(`/streams/${stream.id}/`, proxy.url).href;
}

export async function all(items) {
  const found = [];
  for await (const item of items) found.push(item);
  return found;
}

export const joined = (chunks) => Buffer.concat(chunks).toString();

/** Run a function for each number, some at a time. */
export async function forEach(count, run, workers = 16) {
  let next = 0;
  const work = async () => {
    while (next < count) await run(next++);
  };
  await Promise.all(Array.from({ length: workers }, work));
}


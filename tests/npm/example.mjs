/** The client of the example, without its page: follow one answer to its end, and print how it went. */

const { client, url, headers, body } = JSON.parse(process.argv[2]);

// What it knows from a browser.
globalThis.navigator ??= {};
Object.defineProperty(globalThis.navigator, "onLine", { value: true });
globalThis.addEventListener = globalThis.removeEventListener = () => {};
const ask = globalThis.fetch;
globalThis.fetch = (path, options) => ask(new URL(path, url), { ...options, headers: { ...options?.headers, ...headers } });

const { follow } = await import(client);
const words = [];
const states = [];
const end = await follow(
  (signal) => fetch("/chat", { method: "POST", body: JSON.stringify(body), signal }),
  {
    onPart: (part) => part.type === "text-delta" && words.push(part.delta),
    onState: (state) => states.push(state.name),
    signal: new AbortController().signal,
  },
);
console.log(JSON.stringify({ ...end, text: words.join(""), states }));

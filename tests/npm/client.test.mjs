/** client.js in Node against a real server, behind a proxy that cuts. Run by tests/servers/test_client.py. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { FORMATS, FRAMED, StreamError, all, createFetch, follow, newCase, pieces, proxy, resume, stored } from "./cases.mjs";
import { newStorage } from "./storage.mjs";

for (const format of FORMATS) {
  test(`${format}: text is whole over many cuts while it is written`, async () => {
    const { ask, requests } = newCase([0, 1, 10, 100, 7, 150, 33, 200, 90, 0, 0, 120]);
    const found = await all(ask({ format, count: 60, every: 0.005 }));
    const expected = pieces(60);
    if (format === "ndjson") assert.equal(found.join(""), expected.map((one) => `${JSON.stringify(one)}\n`).join(""));
    else assert.equal(found.join(""), expected.join(""));
    assert.equal(requests().filter(({ method }) => method === "POST").length, 1);
  });
}

test("json is lines, or the data of events", async () => {
  const lines = newCase([30, 60, 90]);
  assert.deepEqual(await all(lines.ask({ format: "ndjson" }, { as: "json" })), pieces(20));
  const parts = newCase([200, 200, 200]);
  const found = await all(parts.ask({ format: "ui_message" }, { as: "json" }));
  assert.deepEqual(found.map(({ type }) => type).slice(0, 3), ["start", "text-start", "text-delta"]);
  assert.equal(found.at(-1).type, "finish");
});

test("events have data, a name and an id", async () => {
  const found = await all(newCase([50]).ask({ format: "sse", count: 5 }, { as: "events" }));
  assert.deepEqual(found.map(({ data }) => data), pieces(5));
  assert.match(found[4].id, /^\w+-\d+$/);
  assert.equal(found[4].event, "message");
});

test("states are told", async () => {
  const stream = newCase([100]).ask({ format: "raw", count: 100 });
  const told = [];
  stream.addEventListener("state", ({ state, offset }) => told.push([state, offset]));
  await all(stream);
  const size = Buffer.byteLength(pieces(100).join(""));
  assert.deepEqual(told, [["connecting", 0], ["live", 0], ["waiting", 100], ["resumed", 100], ["ended", size]]);
  assert.equal(stream.state, "ended");
});

for (const format of FORMATS) {
  test(`${format}: stop cancels on the server`, async () => {
    const stream = newCase().ask({ format, count: 10_000, every: 0.01 });
    let last;
    stream.addEventListener("state", (event) => (last = event));
    for await (const _ of stream) stream.stopped ??= stream.stop();
    await stream.stopped;
    assert.deepEqual([last.state, last.status], ["ended", "cancelled"]);
  });

  for (const query of ["&fails", "&fails&end_event=none"]) {
    test(`${format}: a failure is thrown (${query})`, async () => {
      const stream = newCase([40]).ask({ format, count: 10, query });
      await assert.rejects(all(stream), { name: "StreamError", state: "failed" });
      assert.equal(stream.state, "failed");
    });
  }

  test(`${format}: a failure ends the body of resumableFetch as the format does`, async () => {
    const { headers, options, address } = newCase([40]);
    const url = address({ format, count: 10, query: "&fails" });
    const response = await createFetch(options)(url, { method: "POST", headers });
    if (FRAMED.includes(format)) assert.match(await response.text(), /error/i);
    else await assert.rejects(response.text(), { name: "StreamError", state: "failed" });
  });
}

test("an end without an event of ours is an end", async () => {
  const stream = newCase().ask({ format: "sse", count: 3, query: "&end_event=none" });
  assert.deepEqual((await all(stream)).join(""), pieces(3).join(""));
});

for (const status of [400, 401, 403, 404, 412, 500]) {
  test(`${status} is not tried again`, async () => {
    const { headers, options, requests } = newCase();
    const stream = follow({ url: `${proxy.url}/refuse/${status}/`, headers }, options);
    const state = [404, 412].includes(status) ? "gone" : "failed";
    await assert.rejects(all(stream), (error) => {
      assert.ok(error instanceof StreamError);
      assert.deepEqual([error.state, error.status], [state, status]);
      return true;
    });
    assert.equal(requests().length, 1);
  });
}

test("a page that is no stream fails", async () => {
  const { headers, options } = newCase();
  await assert.rejects(all(follow({ url: proxy.url, headers }, options)), { code: "no_stream" });
});

test("Retry-After is obeyed", async () => {
  const { headers, options } = newCase();
  const url = await stored({ format: "raw" });
  const answers = [
    () => new Response("", { status: 503, headers: { "Retry-After": "1" } }),
    () => new Response("", { status: 429, headers: { "Retry-After": new Date(Date.now() + 1500).toUTCString() } }),
  ];
  const stream = follow({ url, headers }, { ...options, fetch: async (...args) => answers.shift()?.() ?? fetch(...args) });
  const waits = [];
  stream.addEventListener("state", ({ wait }) => wait && waits.push(wait));
  assert.equal((await all(stream)).join(""), pieces(20).join(""));
  assert.ok(waits[0] >= 1000, waits);
  assert.equal(waits.length, 2);
});

test("silence is noticed", async () => {
  const { headers, options } = newCase();
  const url = await stored({ format: "raw" });
  let isFirst = true;
  const silentAtFirst = (...args) => {
    if (!isFirst) return fetch(...args);
    isFirst = false;
    return new Promise((_, reject) => args[1].signal.addEventListener("abort", () => reject(args[1].signal.reason)));
  };
  const stream = follow({ url, headers }, { ...options, silence: 50, fetch: silentAtFirst });
  assert.equal((await all(stream)).join(""), pieces(20).join(""));
});

test("a stream is taken up after a reload, and forgotten at its end", async () => {
  const storage = newStorage();
  const { ask, options, headers } = newCase();
  const withHeaders = (url, init) => fetch(url, { ...init, headers: { ...Object.fromEntries(init.headers), ...headers } });
  const first = ask({ format: "ui_message", count: 50, every: 0.01 }, { key: "answer", storage });
  for await (const text of first) if (text) first.close();
  assert.equal(storage.length, 1);
  const again = resume("answer", { ...options, storage, fetch: withHeaders });
  assert.equal((await all(again)).join(""), pieces(50).join(""));
  assert.equal(storage.length, 0);
  assert.equal(resume("answer", { storage }), null);
});

test("a position that was kept is gone on from", async () => {
  const { ask, options, headers } = newCase();
  const first = ask({ format: "sse", count: 30 }, {});
  let head = "";
  for await (const text of first) {
    head += text;
    if (head.length > 20) break;
  }
  const { id, epoch, offset } = first;
  const from = { epoch, offset };
  const rest = follow({ url: `${proxy.url}/streams/${id}/`, headers }, { ...options, from });
  assert.equal(head + (await all(rest)).join(""), pieces(30).join(""));
  const other = follow({ url: `${proxy.url}/streams/${id}/`, headers }, { ...options, from: { ...from, epoch: "other" } });
  await assert.rejects(all(other), { state: "gone" });
});

test("a token is asked for at each request", async () => {
  const url = await stored({ format: "raw", count: 100 });
  const { headers, options, requests } = newCase([50, 50]);
  let tokens = 0;
  await all(follow({ url, headers }, { ...options, token: async () => `token-${tokens++}` }));
  const sent = requests().map(({ headers: { authorization } }) => authorization);
  assert.deepEqual(sent.slice(0, 3), ["Bearer token-0", "Bearer token-1", "Bearer token-2"]);
});

test("resumableFetch leaves all else as it is", async () => {
  const { headers, options } = newCase();
  const url = await stored({ format: "raw" });
  const fetched = createFetch(options);
  const status = await fetched(`${url}status/`, { headers });
  assert.equal((await status.json()).status, "done");
  const head = await fetched(url, { method: "HEAD", headers });
  assert.equal(head.headers.get("X-Resumable-Stream-Status"), "done");
  assert.equal((await fetched(`${proxy.url}/refuse/404/`, { headers })).status, 404);
  const part = await fetched(url, { headers: { ...headers, Range: "bytes=2-3" } });
  assert.equal((await part.arrayBuffer()).byteLength, 2);
});

test("resumableFetch ends with its signal", async () => {
  const { headers, options, address } = newCase();
  const controller = new AbortController();
  const init = { method: "POST", headers, signal: controller.signal };
  const response = await createFetch(options)(address({ format: "raw", count: 1000, every: 0.05 }), init);
  const reader = response.body.getReader();
  await reader.read();
  const reading = (async () => {
    for (;;) if ((await reader.read()).done) return;
  })();
  controller.abort();
  await assert.rejects(reading, { name: "AbortError" });
});

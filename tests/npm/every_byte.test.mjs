/** client.js, cut once at every byte of a body. Run by tests/servers/test_client.py. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { FORMATS, all, createFetch, follow, forEach, joined, newCase, stored } from "./cases.mjs";

for (const format of FORMATS) {
  test(`${format}: cut at every byte, the bytes are whole`, async () => {
    const url = await stored({ format, count: format === "raw" ? 420 : 4 });
    const whole = await (await fetch(url, { headers: { "X-User": "me" } })).text();
    const size = Buffer.byteLength(whole);
    if (format === "raw") assert.ok(size > 2048, `${size}`);
    let cut = 0;
    await forEach(Math.min(size, 2048), async (at) => {
      const { headers, options, requests } = newCase([at]);
      const found = await all(follow({ url, headers }, { ...options, as: "bytes" }));
      cut += requests().length > 1;
      assert.equal(joined(found), whole, `cut at ${at}`);
    });
    assert.equal(cut, Math.min(size, 2048));
  });

  test(`${format}: resumableFetch, cut at every byte, has a body that is whole`, async () => {
    const url = await stored({ format, count: 4 });
    const whole = await (await fetch(url, { headers: { "X-User": "me" } })).text();
    await forEach(Buffer.byteLength(whole), async (at) => {
      const { headers, options } = newCase([at]);
      const response = await createFetch(options)(url, { headers });
      assert.equal(await response.text(), whole, `cut at ${at}`);
    });
  });
}

/** client.js in Deno: a short form of every_byte.test.mjs. Run by tests/servers/test_client.py. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { FORMATS, all, follow, forEach, joined, newCase, stored } from "./cases.mjs";

for (const format of FORMATS) {
  test(`${format}: cut at the first bytes, they are whole`, async () => {
    const url = await stored({ format, count: 4 });
    const whole = await (await fetch(url, { headers: { "X-User": "me" } })).text();
    await forEach(Math.min(Buffer.byteLength(whole), 40), async (at) => {
      const { headers, options, requests } = newCase([at]);
      const found = await all(follow({ url, headers }, { ...options, as: "bytes" }));
      assert.equal(joined(found), whole, `cut at ${at}`);
      assert.ok(requests().length > 1);
    });
  });
}

/** A proxy that breaks the connections of a case in the middle of their bodies, at the bytes that it is told. */

import http from "node:http";

/**
 * Return {url, plan, left, made, requests, close}: `plan(name, bytes)` cuts the next bodies with `X-Case: name`.
 * A cut is made when one byte more is there: one that a body was too short for is left for the next body.
 */
export async function cutsBefore(server) {
  const plans = new Map();
  const made = new Map();
  const requests = [];
  const proxy = http.createServer((request, response) => {
    const { method, url, headers } = request;
    requests.push({ method, url, name: headers["x-case"], headers });
    const passed = http.request(new URL(url, server), { method, headers }, (answer) => {
      response.writeHead(answer.statusCode, answer.headers);
      response.flushHeaders();
      const isBody = answer.statusCode === 200 && method !== "HEAD";
      const name = headers["x-case"];
      const bytes = isBody ? plans.get(name)?.shift() : undefined;
      if (bytes === undefined) return pass(answer, response);
      cut(answer, response, bytes, (isCut) => {
        if (isCut) made.set(name, (made.get(name) ?? 0) + 1);
        else plans.get(name).unshift(bytes);
      });
    });
    passed.on("error", () => response.destroy());
    response.on("close", () => passed.destroy());
    request.pipe(passed);
  });
  await new Promise((resolve) => proxy.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${proxy.address().port}`,
    plan: (name, cuts) => plans.set(name, [...cuts]),
    left: (name) => plans.get(name) ?? [],
    made: (name) => made.get(name) ?? 0,
    requests,
    close: () => (proxy.close(), proxy.closeAllConnections()),
  };
}

function pass(answer, response) {
  answer.on("error", () => response.destroy()); // the server has broken it
  answer.pipe(response);
}

/** Break a body when a byte after the given ones is there; call `ended` once, with what came of it. */
function cut(answer, response, bytes, ended) {
  let left = bytes;
  let isEnded = false;
  const end = (isCut) => {
    if (!isEnded) ended(isCut);
    isEnded = true;
  };
  answer.on("data", (chunk) => {
    if (isEnded) return;
    if (chunk.length <= left) {
      left -= chunk.length;
      return response.write(chunk);
    }
    end(true);
    answer.destroy();
    response.write(chunk.subarray(0, left), () => response.socket?.destroySoon());
  });
  answer.on("error", () => isEnded || response.destroy()); // the server has broken it
  answer.on("end", () => {
    if (isEnded) return; // the last chunk was cut: there is an end even so
    end(false);
    response.end();
  });
  answer.on("close", () => end(false));
}

/** A proxy that breaks the connections of a case at the bytes of their bodies that it is told. */

import http from "node:http";

/** Return {url, plan, requests, close}: `plan(name, bytes)` cuts the next bodies with `X-Case: name`. */
export async function cutsBefore(server) {
  const plans = new Map();
  const requests = [];
  const proxy = http.createServer((request, response) => {
    const { method, url, headers } = request;
    requests.push({ method, url, name: headers["x-case"], headers });
    const passed = http.request(new URL(url, server), { method, headers }, (answer) => {
      response.writeHead(answer.statusCode, answer.headers);
      response.flushHeaders();
      const isBody = answer.statusCode === 200 && method !== "HEAD";
      const left = isBody ? plans.get(headers["x-case"])?.shift() : undefined;
      if (left === undefined) pass(answer, response);
      else cut(answer, response, left);
    });
    passed.on("error", () => response.destroy());
    response.on("close", () => passed.destroy());
    request.pipe(passed);
  });
  await new Promise((resolve) => proxy.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${proxy.address().port}`,
    plan: (name, cuts) => plans.set(name, [...cuts]),
    left: (name) => plans.get(name).length,
    requests,
    close: () => (proxy.close(), proxy.closeAllConnections()),
  };
}

function pass(answer, response) {
  answer.on("error", () => response.destroy()); // the server has broken it
  answer.pipe(response);
}

function cut(answer, response, left) {
  if (!left) return response.socket.destroySoon();
  answer.on("data", (chunk) => {
    const passed = chunk.subarray(0, left);
    left -= passed.length;
    if (left) return response.write(passed);
    answer.destroy();
    response.write(passed, () => response.socket?.destroySoon());
  });
  answer.on("error", () => left && response.destroy());
  answer.on("end", () => left && response.end());
}

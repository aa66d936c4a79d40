/** The connection as it is: each byte that comes, and what a bad network would do to it. */

export class Wire extends EventTarget {
  #scissors = new AbortController();
  isOffline = false;

  /** A `fetch` for client.js. */
  fetch = async (url, init) => {
    if (this.isOffline) throw new TypeError("offline");
    const signals = [init?.signal, this.#scissors.signal].filter(Boolean);
    const response = await fetch(url, { ...init, signal: AbortSignal.any(signals) });
    if (!response.body || !response.headers.has("X-Resumable-Stream-Id")) return response;
    this.#tell("connection", { status: response.status });
    const tap = new TransformStream({
      transform: (bytes, next) => {
        this.#tell("bytes", { bytes });
        next.enqueue(bytes);
      },
    });
    return new Response(response.body.pipeThrough(tap), response);
  };

  /** Close what is open, as a router does that forgets its connections. */
  cut() {
    this.#scissors.abort(new TypeError("cut"));
    this.#scissors = new AbortController();
  }

  /** Let nothing through for a while. */
  async goOffline(milliseconds) {
    this.isOffline = true;
    this.cut();
    await new Promise((resolve) => setTimeout(resolve, milliseconds));
    this.isOffline = false;
    globalThis.dispatchEvent(new Event("online")); // as a browser does
  }

  #tell(type, detail) {
    this.dispatchEvent(Object.assign(new Event(type), detail));
  }
}

// For HTMX's SSE extension: its connections over client.js, so that each event comes once, whatever
// the network does. Load it as a module, after htmx and the extension.

import { follow } from "./client.js";

class FollowedSource extends EventTarget {
  readyState = EventSource.CONNECTING;

  constructor(url) {
    super();
    this.stream = follow({ url, credentials: "include" }, { as: "events" });
    this.stream.addEventListener("state", (told) => this.#note(told));
    this.#read();
  }

  close() {
    this.readyState = EventSource.CLOSED;
    this.stream.close();
  }

  // No state but the first is told to `onopen`, at which the extension would bind its listeners
  // again, and none to `onerror`, at which it would begin from the start.
  #note({ state, status, error }) {
    const isOpen = state === "live" || state === "resumed";
    if (isOpen && this.readyState === EventSource.CONNECTING) {
      this.readyState = EventSource.OPEN;
      this.onopen?.(new Event("open"));
    }
    if (state === "ended") this.#tell(status, { status });
    if (state === "failed" || state === "gone") this.#tell("error", { status: "error", code: error.code });
  }

  #tell(name, answer) {
    this.dispatchEvent(new MessageEvent(name, { data: JSON.stringify(answer) }));
  }

  async #read() {
    try {
      for await (const { event, data, id } of this.stream)
        this.dispatchEvent(new MessageEvent(event, { data, lastEventId: id }));
    } catch (error) {
      if (!error.state) throw error; // the event `error` has told of it
    }
    this.readyState = EventSource.CLOSED;
  }
}

globalThis.htmx.createEventSource = (url) => new FollowedSource(url);

// <resumable-stream src="/streams/…/">: the text of a stream, for pages without a script of their own.
// With method="post" it starts the stream, and takes it up after a reload.

import { follow, resume } from "./client.js";

class ResumableStream extends HTMLElement {
  static observedAttributes = ["src"];

  connectedCallback() {
    if (!this.hasAttribute("aria-live")) this.ariaLive = "polite";
    this.#start();
  }

  disconnectedCallback() {
    this.stream?.close();
  }

  attributeChangedCallback(name, before) {
    if (before !== null && this.isConnected) this.#start();
  }

  /** Cancel the stream on the server. */
  stop() {
    return this.stream?.stop();
  }

  async #start() {
    this.stream?.close();
    this.replaceChildren();
    const url = this.getAttribute("src");
    if (!url) return;
    const method = this.getAttribute("method")?.toUpperCase() ?? "GET";
    const key = method === "POST" ? `element:${this.id}:${url}` : undefined;
    const stream = (this.stream = (key && resume(key)) || follow({ url, method }, { key }));
    stream.addEventListener("state", ({ state, offset, wait, status, error }) => {
      if (stream !== this.stream) return;
      this.setAttribute("state", state);
      const detail = { state, offset, wait, status, error };
      this.dispatchEvent(new CustomEvent("state", { detail, bubbles: true }));
    });
    try {
      for await (const text of stream) if (stream === this.stream) this.append(text);
    } catch (error) {
      if (!error.state) throw error; // the attribute has told of it
    }
  }
}

customElements.define("resumable-stream", ResumableStream);

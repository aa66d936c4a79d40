// <resumable-stream src="/streams/…/">: the text of a stream, for pages without a script of their own.
// With method="post" it starts the stream, and takes it up after a reload. With format="html" it
// inserts the fragments of a stream of the format html.

import { follow, resume } from "./client.js";

class ResumableStream extends HTMLElement {
  static observedAttributes = ["src"];

  connectedCallback() {
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
    const url = this.getAttribute("src");
    const place = this.#place();
    place.replaceChildren();
    if (!url) return;
    const method = this.getAttribute("method")?.toUpperCase() ?? "GET";
    const key = method === "POST" ? `element:${this.id}:${url}` : undefined;
    const as = this.getAttribute("format") === "html" ? "events" : "text";
    const stream = (this.stream = (key && resume(key, { as })) || follow({ url, method }, { key, as }));
    stream.addEventListener("state", ({ state, offset, wait, status, error }) => {
      if (stream !== this.stream) return;
      this.setAttribute("state", state);
      const detail = { state, offset, wait, status, error };
      this.dispatchEvent(new CustomEvent("state", { detail, bubbles: true }));
    });
    try {
      for await (const item of stream) if (stream === this.stream) this.#show(place, item);
    } catch (error) {
      if (!error.state) throw error; // the attribute has told of it
    }
  }

  #place() {
    const target = this.getAttribute("target");
    const place = target ? document.querySelector(target) : this;
    if (!place) throw new Error(`No element of the page is the target ${target} of a stream.`);
    if (!place.hasAttribute("aria-live")) place.ariaLive = "polite";
    return place;
  }

  #show(place, item) {
    if (typeof item !== "string" && item.event !== "fragment") return;
    if (this.hasAttribute("replace")) place.replaceChildren();
    if (typeof item === "string") place.append(item);
    else place.insertAdjacentHTML("beforeend", item.data);
  }
}

customElements.define("resumable-stream", ResumableStream);

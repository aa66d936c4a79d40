/** One answer: read to its end with client.js, and kept across a reload at the byte where it was. */

import { follow } from "../resumable_streams/client.js";

export class Answer extends EventTarget {
  id = null; // of the message; the stream tells it
  text = "";

  /** `request` is what `follow` takes; `from` goes on where an earlier page was. */
  constructor(request, { fetch, known } = {}) {
    super();
    Object.assign(this, { id: known?.id ?? null, text: known?.text ?? "" });
    this.stream = follow(request, { fetch, as: "json", from: known && { epoch: known.epoch, offset: known.offset } });
    this.stream.addEventListener("state", (event) => {
      this.state = event.state;
      if (event.status) this.status = event.status;
      this.#tell("state", event);
    });
  }

  /** Read to the end; return how it went: done, cancelled, failed, gone, busy, or left by this page. */
  async read() {
    try {
      for await (const part of this.stream) this.#take(part);
    } catch (error) {
      if (!error.state) throw error;
      return outcomeOf(error);
    }
    return { outcome: this.status ?? "left" };
  }

  #take(part) {
    if (part.type === "start") Object.assign(this, { id: part.messageId, text: "" });
    else if (part.type === "text-delta") this.text += part.delta;
    else return;
    this.#tell("text", {});
  }

  #tell(type, { state, offset, wait }) {
    this.dispatchEvent(Object.assign(new Event(type), { state, offset, wait }));
  }

  /** What a page needs to go on: `known` of the next one. */
  get position() {
    const { id, text, stream } = this;
    return { id, text, streamId: stream.id, epoch: stream.epoch, offset: stream.offset };
  }
}

function outcomeOf({ state, status, code, message }) {
  if (status === 409) return { outcome: "busy" };
  // An answer from the table, or none at all: the history has it.
  if (state === "gone" || code === "no_stream") return { outcome: "gone" };
  return { outcome: "failed", detail: message };
}

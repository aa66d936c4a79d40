/**
 * Follow one answer by WebSocket: what `follow` of stream.js does, with the same callbacks.
 *
 * The socket carries the log itself, so a position is a byte of the log, and the end is a message.
 */

import { Attempt, FIRST_PAUSE, LONGEST_PAUSE, refusal, sleep } from "./stream.js";

const FINAL_CODES = new Set([4401, 4404]);
const OUTCOMES = { done: "ended", cancelled: "stopped", error: "failed" };

/** `open(signal)` starts or finds an answer that is not known here; the body of it is left alone. */
export async function followBySocket(open, { known, joining, onPart, onState, signal }) {
  if (!known) {
    const response = await open(signal);
    if (!response.ok || response.status === 204) return refusal(response);
    await response.body.cancel();
    known = {
      id: response.headers.get("X-Resumable-Stream-Id"),
      epoch: response.headers.get("X-Resumable-Stream-Epoch"),
      offset: 0,
    };
  } else joining = true;
  const { id, epoch } = known;
  let { offset } = known;
  for (let pause = FIRST_PAUSE; ; pause = Math.min(2 * pause, LONGEST_PAUSE)) {
    const socket = new Socket({ id, epoch, offset }, signal);
    for await (const message of socket.messages()) {
      if (message.type === "opened") {
        onState({ name: joining ? "resumed" : "live", offset });
        joining = true; // from now on
      } else if (message.type === "data") {
        pause = FIRST_PAUSE;
        for (const data of socket.frames(message)) {
          offset = socket.offset;
          if (data !== "[DONE]") onPart(JSON.parse(data), { id, epoch, offset });
        }
      } else if (message.type === "end") {
        return { outcome: OUTCOMES[message.status], detail: message.detail ?? message.error, offset };
      } else if (message.type === "error" && message.error !== "unavailable") {
        const isGone = ["stream_not_found", "stream_replaced"].includes(message.error);
        return { outcome: isGone ? "gone" : "failed", detail: message.error, offset };
      }
    }
    if (signal.aborted) return { outcome: "left", offset };
    if (FINAL_CODES.has(socket.code)) return { outcome: "gone", offset };
    onState({ name: "offline", offset, wait: pause });
    await sleep(pause, signal);
  }
}

/** One socket: the messages of one stream, on channel 0, until it closes or is quiet for too long. */
class Socket {
  constructor({ id, epoch, offset }, signal) {
    this.offset = offset; // where the last whole frame ends
    this.acknowledged = offset;
    this.rest = "";
    this.waiting = [];
    this.attempt = new Attempt(signal);
    this.socket = new WebSocket(new URL("/ws/streams/", location.href.replace(/^http/, "ws")));
    this.socket.onopen = () => this.say({ type: "resume", id, epoch, offset, frames: "text" });
    this.socket.onmessage = ({ data }) => this.put(JSON.parse(data));
    this.socket.onclose = ({ code }) => {
      this.code = code;
      this.put(null);
    };
    this.attempt.signal.addEventListener("abort", () => {
      this.socket.close();
      this.put(null); // a dead connection takes its time to close
    });
  }

  say(message) {
    this.socket.send(JSON.stringify({ channel: 0, ...message }));
  }

  put(message) {
    this.waiting.push(message);
    this.wake?.();
  }

  async *messages() {
    try {
      for (;;) {
        while (!this.waiting.length) await new Promise((resolve) => (this.wake = resolve));
        const message = this.waiting.shift();
        if (message === null) return;
        this.attempt.heard();
        if (message.type === "opened") this.window = message.window;
        yield message;
      }
    } finally {
      this.attempt.close();
    }
  }

  /** Return the data of each frame that a message completes; acknowledge it at half a window. */
  frames({ end, text }) {
    const frames = (this.rest + text).split("\n\n");
    this.rest = frames.pop();
    this.offset = end - new TextEncoder().encode(this.rest).length;
    if (end - this.acknowledged >= this.window / 2) {
      this.acknowledged = end;
      this.say({ type: "ack", offset: end });
    }
    return frames.filter((frame) => frame.startsWith("data:")).map((frame) => frame.slice(5).trim());
  }
}

/**
 * Follow one answer to its end, whatever happens to the network in between.
 *
 * The body is a list of Server-Sent Events, each with an id that says where it ends in the log of the
 * answer. With the last one, a broken connection goes on at exactly that byte. A body that ends without
 * a final frame, or with the word that there is more, is not the end: the server wants us to come back.
 */

export const FIRST_PAUSE = 500;
export const LONGEST_PAUSE = 10_000;
const QUIET_LIMIT = 60_000; // nothing for this long: the connection is taken for dead
const QUIET_LIMIT_OFFLINE = 2_000; // the same while the browser says that there is no network
const RESUME = /: resume\.$/; // what the error says that is none: the answer goes on
const RETRY_STATUS = new Set([408, 425, 429, 500, 502, 503, 504]);

/** Cut bytes into events; remember where in the log the last whole one ended. */
class Frames {
  constructor(offset) {
    this.offset = offset;
    this.rest = new Uint8Array(0);
  }

  /** Forget half an event, and go on at `offset`. */
  restart(offset) {
    this.hasEnded = false;
    this.offset = offset;
    this.rest = new Uint8Array(0);
  }

  /** Yield the data of each event that these bytes complete. */
  *push(chunk) {
    const bytes = new Uint8Array(this.rest.length + chunk.length);
    bytes.set(this.rest);
    bytes.set(chunk, this.rest.length);
    let start = 0;
    for (let end = blankLine(bytes, start); end > 0; end = blankLine(bytes, start)) {
      const frame = new TextDecoder().decode(bytes.subarray(start, end));
      start = end;
      this.rest = bytes.subarray(start);
      const data = field(frame, "data");
      if (data === undefined) continue; // a comment keeps the connection alive
      if (asksToResume(data)) {
        this.hasEnded = true; // the body, not the stream
        return;
      }
      const [, offset] = field(frame, "id")?.match(/-(\d+)$/) ?? [];
      if (offset !== undefined) this.offset = Number(offset);
      yield data;
    }
    this.rest = bytes.slice(start);
  }
}

/** Return a field of one line of a frame, the last one of that name. */
function field(frame, name) {
  const lines = frame.split("\n").filter((line) => line.startsWith(`${name}:`));
  return lines.at(-1)?.slice(name.length + 1).trim();
}

/** Tell whether this is the data of the last frame of a body whose stream goes on. */
function asksToResume(data) {
  return data.startsWith('{"type":"error"') && RESUME.test(JSON.parse(data).errorText);
}

/** Return the position after the next blank line, or 0. */
function blankLine(bytes, from) {
  for (let at = bytes.indexOf(10, from); at !== -1; at = bytes.indexOf(10, at + 1)) {
    if (bytes[at + 1] === 10) return at + 2;
  }
  return 0;
}

/**
 * Read a stream and call `onPart` for each part, `onState` for each change of the connection.
 *
 * `open(signal)` makes the first request. `known` ({id, epoch, offset}) says what is here already; then
 * the first request asks for the rest. Resolves to {outcome, offset, detail}; the outcome is "ended",
 * "stopped", "failed", "gone" (not stored any more), "none" (nothing is active), "busy" (another
 * answer is) or "left" (by `signal`).
 */
export async function follow(open, { known, joining = false, onPart, onState, signal }) {
  const frames = new Frames(known?.offset ?? 0);
  let id = known?.id ?? null;
  let epoch = known?.epoch ?? "";
  let pause = FIRST_PAUSE;
  for (;;) {
    let wait = pause;
    const attempt = new Attempt(signal);
    try {
      const resuming = joining || id !== null;
      const response = await (id !== null
        ? fetch(`/streams/${id}/`, {
            headers: { "Last-Event-ID": `${epoch}-${frames.offset}` },
            signal: attempt.signal,
          })
        : open(attempt.signal));
      if (response.ok && response.status !== 204) {
        id = response.headers.get("X-Resumable-Stream-Id");
        epoch = response.headers.get("X-Resumable-Stream-Epoch");
        frames.restart(Number(response.headers.get("X-Resumable-Stream-Offset") ?? frames.offset));
        onState({ name: resuming ? "resumed" : "live", offset: frames.offset });
        for await (const chunk of attempt.read(response)) {
          pause = FIRST_PAUSE;
          for (const data of frames.push(chunk)) {
            const end = take(data, { id, epoch, offset: frames.offset }, onPart);
            if (end) return { ...end, offset: frames.offset };
          }
          if (frames.hasEnded) break;
        }
        wait = pause; // a body without a final frame asks us to come back
      } else if (RETRY_STATUS.has(response.status)) {
        wait = Math.max(pause, 1000 * Number(response.headers.get("Retry-After") ?? 0));
      } else if (response.status === 204 && id !== null) {
        return { outcome: "ended", offset: frames.offset }; // all of it is here
      } else {
        return { ...(await refusal(response)), offset: frames.offset };
      }
    } catch (error) {
      if (signal.aborted) return { outcome: "left", offset: frames.offset };
      if (!(error instanceof TypeError || error.name === "AbortError")) throw error;
    } finally {
      attempt.close();
    }
    onState({ name: "offline", offset: frames.offset, wait });
    await sleep(wait, signal);
    pause = Math.min(2 * pause, LONGEST_PAUSE) * (0.8 + 0.4 * Math.random());
  }
}

/** Hand one part on; return how the stream ended if this was its last frame. */
function take(data, position, onPart) {
  if (data === "[DONE]") return { outcome: "ended" };
  const part = JSON.parse(data);
  if (part.type === "abort") return { outcome: "stopped" };
  if (part.type === "error") return { outcome: "failed", detail: part.errorText };
  onPart(part, position);
  return null;
}

export async function refusal(response) {
  if (response.status === 204) return { outcome: "none" };
  if (response.status === 409) return { outcome: "busy" };
  if ([404, 412].includes(response.status)) return { outcome: "gone" }; // or begun again
  const problem = await response.json().catch(() => ({}));
  return { outcome: "failed", detail: problem.detail ?? problem.error ?? `The server answered ${response.status}.` };
}

/** One request: ends when the reader leaves, or when nothing has arrived for too long. */
export class Attempt {
  constructor(parent) {
    this.controller = new AbortController();
    this.signal = this.controller.signal;
    this.leave = () => this.controller.abort();
    this.watch = () => this.heard();
    parent.addEventListener("abort", this.leave);
    addEventListener("offline", this.watch);
    if (parent.aborted) this.leave();
    this.heard();
  }

  /** Start to count the silence anew. */
  heard() {
    clearTimeout(this.timer);
    this.timer = setTimeout(this.leave, navigator.onLine ? QUIET_LIMIT : QUIET_LIMIT_OFFLINE);
  }

  async *read(response) {
    const reader = response.body.getReader();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      this.heard();
      yield value;
    }
  }

  close() {
    clearTimeout(this.timer);
    removeEventListener("offline", this.watch);
    this.controller.abort();
  }
}

/** Wait, but not for longer than it takes the network or the reader to come back. */
export function sleep(milliseconds, signal) {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      removeEventListener("online", done);
      signal.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, milliseconds);
    addEventListener("online", done);
    signal.addEventListener("abort", done);
  });
}

// Reads a stream body after body, each from where the last one stopped. See client.d.ts.

const DEFAULTS = { silence: 45_000, firstPause: 500, longestPause: 10_000 };
const PREFIX = "resumable-stream:";

export class StreamError extends Error {
  constructor(state, more) {
    super(more.detail ?? more.code);
    Object.assign(this, { name: "StreamError", state, ...more });
  }
}

class Network {
  #attempt = new AbortController();
  #tries = 0;

  constructor(signal, options) {
    Object.assign(this, { signal, options });
    const notice = (event) => this.#notice(event);
    signal.addEventListener("abort", notice);
    for (const name of ["online", "offline", "pageshow", "visibilitychange"])
      globalThis.addEventListener?.(name, notice, { signal });
  }

  #notice({ type, persisted }) {
    if (type === "offline") return this.deadline && this.#listen();
    // Timers sleep with the page; the clock does not.
    if (type === "abort" || persisted || Date.now() > this.deadline) this.#attempt.abort();
    if (!globalThis.document?.hidden || this.signal.aborted) this.wake?.();
  }

  #listen() {
    clearTimeout(this.timer);
    const patience = globalThis.navigator?.onLine === false ? 2_000 : this.options.silence;
    this.deadline = Date.now() + patience;
    this.timer = setTimeout(() => this.#attempt.abort(), patience);
  }

  #hear(promise) {
    this.#listen();
    return promise.finally(() => {
      clearTimeout(this.timer);
      this.deadline = undefined;
    });
  }

  async fetch(url, init) {
    this.signal.throwIfAborted();
    this.#attempt = new AbortController();
    return this.#hear(this.options.fetch(url, { ...init, signal: this.#attempt.signal }));
  }

  async *chunks(body) {
    const reader = body.getReader();
    const { signal } = this.#attempt;
    const leave = () => reader.cancel().catch(() => {});
    signal.addEventListener("abort", leave);
    try {
      for (;;) {
        const { done, value } = await this.#hear(reader.read());
        if (signal.aborted) throw new TypeError("given up");
        if (done) return;
        this.#tries = 0;
        yield value;
      }
    } finally {
      leave();
    }
  }

  check(error) {
    this.signal.throwIfAborted();
    if (!(error instanceof TypeError || error.name === "AbortError")) throw error;
  }

  async pause(atLeast, tell) {
    const { firstPause, longestPause } = this.options;
    const pause = Math.min(longestPause, firstPause * 2 ** this.#tries++);
    const wait = Math.max(atLeast, 0) + pause * (0.5 + Math.random() / 2);
    tell("waiting", { wait });
    await new Promise((resolve) => {
      this.wake = resolve;
      this.timer = setTimeout(resolve, this.signal.aborted ? 0 : wait);
    });
    clearTimeout(this.timer);
  }
}

class Stream extends EventTarget {
  offset = 0;
  #controller = new AbortController();
  #known = new Promise((resolve) => (this.know = resolve));

  constructor(url, init, options) {
    super();
    this.options = { ...DEFAULTS, fetch: (...args) => fetch(...args), ...options };
    Object.assign(this, { url: new URL(url, globalThis.document?.baseURI), init });
  }

  async stop() {
    await this.#known;
    const url = new URL(`cancel/?epoch=${this.epoch}`, this.address);
    const response = await this.options.fetch(url, await this.sign(url, { method: "POST" }));
    if (!response.ok) throw await refusal(response);
  }

  close() {
    this.#controller.abort();
  }

  [Symbol.asyncIterator]() {
    return (this.items ??= this.#items());
  }

  async *#items() {
    const shape = SHAPES[this.options.as ?? "text"](this);
    const open = () => (this.epoch ? this.#rest() : this.#ask(this.url, this.init));
    try {
      for await (const piece of this.pieces(open)) yield* shape(piece);
      yield* shape({ bytes: new Uint8Array(0), isLast: true });
    } catch (error) {
      if (!this.#controller.signal.aborted || error.state) throw error;
    }
  }

  async *pieces(open) {
    this.network = new Network(this.#controller.signal, this.options);
    try {
      this.#tell("connecting");
      yield* this.#bodies(await open());
      if (this.end.status === "error") throw new StreamError("failed", this.end);
      this.#tell("ended", this.end);
    } catch (error) {
      if (!this.#controller.signal.aborted) this.#tell(error.state ?? "failed", { error });
      throw error;
    } finally {
      this.close();
    }
  }

  async *#bodies(response) {
    while (this.#enter(response)) {
      const before = this.offset;
      this.retry = 0;
      try {
        yield* this.isFramed ? this.#events(response.body) : this.#bytes(response.body);
      } catch (error) {
        this.network.check(error);
        this.retry = 1;
      }
      if (this.end) return;
      if (this.retry) await this.#wait(this.retry);
      if (!this.isFramed || this.offset === before || this.isComplete) {
        if (await this.#isOver()) return;
        if (!this.retry) await this.#wait();
      }
      response = await this.#rest();
    }
  }

  #enter(response) {
    const isOver = response.status === 204;
    const epoch = headerOf(response, "Epoch");
    const offset = Number(headerOf(response, "Offset"));
    if (!epoch) throw new StreamError(isOver ? "gone" : "failed", { code: "no_stream" });
    const isResumed = this.epoch || offset;
    if (epoch !== (this.epoch ??= epoch)) throw new StreamError("gone", { code: "replaced" });
    if (isOver) return !(this.end = { status: "done" });
    if (!this.id) this.#learn(response, offset);
    else if (offset !== this.offset) throw new StreamError("failed", { code: "offset" });
    this.#tell(isResumed ? "resumed" : "live");
    return true;
  }

  #learn(response, offset) {
    const { headers, url } = response;
    const id = headerOf(response, "Id");
    const own = this.url.pathname.includes(`/${id}/`) ? this.url : `/streams/${id}/`;
    const address = this.options.address?.(id) ?? headers.get("Location") ?? own;
    Object.assign(this, { id, offset, address: new URL(address, url || this.url) });
    this.isFramed = /event-stream/.test(headers.get("Content-Type"));
    this.isMessage = headers.has("x-vercel-ai-ui-message-stream");
    this.know();
  }

  async *#bytes(body) {
    for await (const bytes of this.network.chunks(body)) {
      this.offset += bytes.length;
      yield { bytes };
    }
  }

  // An id says where in the log its event ends.
  async *#events(body) {
    let told;
    for await (const event of events(this.network.chunks(body))) {
      const end = endOf(event);
      const position = event.id?.match(/-(\d+|end)$/)?.[1];
      event.isLast = position === "end";
      this.retry = end?.isPause ? 1 : Number(event.retry ?? 0);
      if (!event.isLast) this.offset = Number(position ?? this.offset);
      if (position || (event.data && !end?.isPause)) yield event;
      if (event.isLast) {
        this.isComplete = true;
        this.end = told ?? end;
        return;
      }
      told = position ? undefined : end;
    }
  }

  async #rest() {
    const { address, epoch, offset } = this;
    const response = await this.#ask(address, { headers: { "Last-Event-ID": `${epoch}-${offset}` } });
    if (response.status !== 204 || !this.isFramed) return response;
    // The event that tells of the end is left.
    const url = new URL(address);
    url.searchParams.set("epoch", epoch);
    url.searchParams.set("offset", offset);
    return this.#ask(url, {});
  }

  // In HTTP/1.0 a cut looks like an end.
  async #isOver() {
    const response = await this.#ask(this.address, { method: "HEAD" });
    const status = headerOf(response, "Status");
    const isWhole = this.isComplete || headerOf(response, "Size") <= this.offset;
    const isThis = headerOf(response, "Epoch") === this.epoch;
    if (status !== "streaming" && isWhole && isThis) this.end = { status };
    return this.end;
  }

  async #ask(url, init) {
    for (;;) {
      let wait = 0;
      try {
        const response = await this.network.fetch(url, await this.sign(url, init));
        if (response.ok) return response;
        // Before there is a stream, a 500 is a mistake in the view.
        const passing = this.epoch ? /408|416|425|429|50./ : /408|425|429|50[234]/;
        if (!passing.test(response.status)) throw await refusal(response);
        const after = response.headers.get("Retry-After");
        wait = 1000 * after || Date.parse(after) - Date.now() || 0;
      } catch (error) {
        this.network.check(error);
      }
      await this.#wait(wait);
    }
  }

  #wait(atLeast = 0) {
    return this.network.pause(atLeast, (...told) => this.#tell(...told));
  }

  async sign(url, init) {
    const { body, method, signal, ...first } = this.init;
    const headers = new Headers(first.headers);
    new Headers(init.headers).forEach((value, name) => headers.set(name, value));
    const { token, csrf = findCsrf } = this.options;
    if (token) headers.set("Authorization", `Bearer ${await token()}`);
    const isOwn = init.method === "POST" && url.origin === globalThis.location?.origin;
    if (isOwn && !headers.has("X-CSRFToken")) headers.set("X-CSRFToken", csrf());
    return { ...first, ...init, headers };
  }

  #tell(state, more) {
    this.state = state;
    const { id, epoch, offset, address, end, options } = this;
    if (options.key && id) {
      const key = PREFIX + options.key;
      if (end || state === "gone") storageOf(options).removeItem(key);
      else storageOf(options).setItem(key, JSON.stringify({ address, epoch }));
    }
    this.dispatchEvent(Object.assign(new Event("state"), { state, offset, ...more }));
  }
}

const headerOf = ({ headers }, name) => headers.get(`X-Resumable-Stream-${name}`);
const storageOf = (options) => options?.storage ?? sessionStorage;

async function refusal(response) {
  const { status } = response;
  const { error, detail } = Object(await response.json().catch(() => ({})));
  const state = [404, 410, 412].includes(status) ? "gone" : "failed";
  return new StreamError(state, { status, code: error ?? `http_${status}`, detail });
}

const findCsrf = () =>
  document.querySelector("[name=csrfmiddlewaretoken]")?.value ??
  document.cookie.match(/\bcsrftoken=([^;]*)/)?.[1] ??
  "";

function decoder() {
  const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
  return (bytes) => decoder.decode(bytes, { stream: true });
}

async function* events(chunks) {
  const decode = decoder();
  let rest = "";
  for await (const chunk of chunks) {
    const texts = (rest + decode(chunk)).split("\n\n");
    rest = texts.pop();
    yield* texts.map(eventOf);
  }
}

function eventOf(text) {
  const fields = { text: `${text}\n\n`, event: "message" };
  for (const line of text.split(/\r\n?|\n/)) {
    const [, name, value] = /^(\w+):? ?(.*)/s.exec(line) ?? [];
    fields[name] = name === "data" && name in fields ? `${fields.data}\n${value}` : value;
  }
  return fields;
}

function partOf({ data }) {
  try {
    return Object(JSON.parse(data));
  } catch {
    return {};
  }
}

function endOf(event) {
  const { type, code, errorText, message, detail = errorText ?? message } = partOf(event);
  if (/^(done|cancelled)$/.test(event.event)) return { status: event.event };
  if (event.data === "[DONE]") return { status: "done" };
  if (type === "abort" || code === "cancelled") return { status: "cancelled" };
  if (event.event !== "error" && !/^(error|RUN_ERROR)$/.test(type)) return undefined;
  return { status: "error", code, detail, isPause: /: resume\.$/.test(detail) };
}

const bytesOf = ({ bytes, text }) => bytes ?? new TextEncoder().encode(text);

const SHAPES = {
  bytes: () => (piece) => [bytesOf(piece)].filter(({ length }) => length),
  events: () => (event) => (event.isLast || !event.data ? [] : [event]),
  text(stream) {
    const decode = decoder();
    return (piece) => [piece.bytes ? decode(piece.bytes) : textOf(piece, stream)].filter(Boolean);
  },
  json() {
    const decode = decoder();
    let rest = "";
    return ({ bytes, data, isLast }) => {
      if (!bytes) return isLast || !data || data === "[DONE]" ? [] : [JSON.parse(data)];
      const lines = (rest + decode(bytes)).split("\n");
      rest = isLast ? "" : lines.pop();
      return lines.filter(Boolean).map((line) => JSON.parse(line));
    };
  },
};

function textOf(event, stream) {
  stream.isMessage ||= /^\{"type": ?"[A-Z]+_/.test(event.data); // of AG-UI
  if (!stream.isMessage) return /^(message|fragment)$/.test(event.event) && !event.isLast && event.data;
  const { type, delta } = partOf(event);
  return /^(text-delta|TEXT_MESSAGE_CONTENT)$/.test(type) && delta;
}

export function follow(request, { from, ...options } = {}) {
  const { url, body, ...init } = request.url ? request : { url: request };
  const headers = new Headers(init.headers);
  const isJson = body?.constructor === Object;
  if (isJson) headers.set("Content-Type", "application/json");
  const first = { method: body ? "POST" : "GET", ...init, headers };
  if (body) first.body = isJson ? JSON.stringify(body) : body;
  // A retry joins the stream of the first try.
  const isNew = first.method === "POST" && !headers.has("Idempotency-Key");
  if (isNew) headers.set("Idempotency-Key", `${Date.now()}-${Math.random()}`);
  const stream = new Stream(url, first, options);
  if (from) Object.assign(stream, { epoch: from.epoch, offset: from.offset ?? 0, address: stream.url });
  return stream;
}

export function resume(key, options) {
  const kept = JSON.parse(storageOf(options).getItem(PREFIX + key));
  return kept && follow(kept.address, { from: kept, ...options, key });
}

export function createFetch(options) {
  return async (input, init) => {
    const request = new Request(input, init);
    const { url, headers, credentials, method } = request;
    const stream = new Stream(url, { headers, credentials }, options);
    const response = await stream.options.fetch(request, await stream.sign(stream.url, { method }));
    const isBody = response.status === 200 && response.body && headerOf(response, "Offset");
    if (!isBody || /\blive=0/.test(url)) return response;
    const signal = init?.signal ?? input.signal;
    signal?.addEventListener("abort", () => stream.close());
    return new Response(bodyOf(stream, response), response);
  };
}

function bodyOf(stream, response) {
  const pieces = stream.pieces(() => response);
  const pull = async (controller) => {
    const quiet = (error) => (stream.isFramed && stream.end ? { done: true } : Promise.reject(error));
    const { done, value } = await pieces.next().catch(quiet);
    if (done) controller.close();
    else controller.enqueue(bytesOf(value));
  };
  return new ReadableStream({ pull, cancel: () => stream.close() }, { highWaterMark: 0 });
}

export const resumableFetch = createFetch();

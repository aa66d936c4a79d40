/** Streams of django-resumable-streams in pages, Node 18+ and Deno. See docs/javascript.md. */

/**
 * Start or find a stream, and follow it to its end.
 *
 * Iterate over the result once: the first step sends the request. The loop ends when the stream is
 * done or cancelled, or after `close()`. It throws a `StreamError` if the stream failed or is gone.
 * A POST gets an `Idempotency-Key`, so that a retry joins the stream of the first try.
 */
export function follow(request: StreamRequest, options: FollowOptions & { as: "bytes" }): FollowedStream<Uint8Array>;
export function follow(request: StreamRequest, options: FollowOptions & { as: "events" }): FollowedStream<StreamEvent>;
export function follow<T = unknown>(request: StreamRequest, options: FollowOptions & { as: "json" }): FollowedStream<T>;
export function follow(request: StreamRequest, options?: FollowOptions & { as?: "text" }): FollowedStream<string>;
export function follow(request: StreamRequest, options: FollowOptions): FollowedStream<unknown>;

/**
 * Follow the stream that was running under `key` before a reload, from its first byte.
 *
 * Returns null if none was. A key is remembered until its stream has ended or is gone.
 */
export function resume(key: string, options: FollowOptions & { as: "bytes" }): FollowedStream<Uint8Array> | null;
export function resume(key: string, options: FollowOptions & { as: "events" }): FollowedStream<StreamEvent> | null;
export function resume<T = unknown>(key: string, options: FollowOptions & { as: "json" }): FollowedStream<T> | null;
export function resume(key: string, options?: FollowOptions & { as?: "text" }): FollowedStream<string> | null;
export function resume(key: string, options: FollowOptions): FollowedStream<unknown> | null;

/**
 * A `fetch` whose body does not break: if the answer is a stream, it goes on where it was cut.
 *
 * The first answer is handed on as it is, whatever it is. Keep-alives are left out.
 */
export const resumableFetch: typeof fetch;

/** Make a `resumableFetch` with options of its own, such as `token`. */
export function createFetch(options?: ConnectionOptions): typeof fetch;

export type StreamRequest =
  | string
  | URL
  | {
      url: string | URL;
      /** POST if there is a body, else GET. */
      method?: string;
      /** A plain object is sent as JSON, anything else as `fetch` would. */
      body?: BodyInit | Record<string, unknown>;
      headers?: HeadersInit;
      credentials?: RequestCredentials;
    };

export interface ConnectionOptions {
  /** Return a bearer token. Asked before each request, so it may be a fresh one. */
  token?: () => string | Promise<string>;
  /** Return Django's CSRF token; by default from a form on the page, or the cookie `csrftoken`. */
  csrf?: () => string;
  /** Return the address of a stream; by default the `Location` of the answer, or `/streams/<id>/`. */
  address?: (id: string) => string | URL;
  /** Milliseconds without a byte after which a connection counts as dead (45,000). */
  silence?: number;
  /** Milliseconds before the second try (500), with jitter. Each further pause is twice as long. */
  firstPause?: number;
  /** The longest pause in milliseconds (10,000). `Retry-After` comes on top. */
  longestPause?: number;
  /** The function that sends requests. */
  fetch?: typeof fetch;
}

export interface FollowOptions extends ConnectionOptions {
  /**
   * The items: `text` (the default), `json` (each line, or the data of each event), `events`, or `bytes`.
   */
  as?: "text" | "json" | "events" | "bytes";
  /** The name under which a running stream is remembered across reloads. */
  key?: string;
  /** Where keys are remembered: `sessionStorage` by default. */
  storage?: Pick<Storage, "getItem" | "setItem" | "removeItem">;
  /** The position to go on from, as an earlier stream had it. */
  from?: { epoch: string; offset?: number };
}

export interface StreamEvent {
  event: string;
  data: string;
  id?: string;
}

/**
 * - `connecting`: before the first answer.
 * - `live`: the body begins at byte 0. `resumed`: it goes on at byte `offset`.
 * - `waiting`: the connection broke; the next try is in `wait` milliseconds.
 * - `ended`: `status` is `done` or `cancelled`.
 * - `failed`: the stream, or a request that is not worth another try; see `error`.
 * - `gone`: not there (any more), not yours, or begun again since.
 */
export type StreamState = "connecting" | "live" | "resumed" | "waiting" | "ended" | "failed" | "gone";

export interface StateEvent extends Event {
  readonly state: StreamState;
  /** The byte of the log up to which items were handed on. */
  readonly offset: number;
  readonly wait?: number;
  readonly status?: "done" | "cancelled";
  readonly error?: Error;
}

export interface FollowedStream<T> extends AsyncIterable<T> {
  readonly state: StreamState;
  readonly id?: string;
  /** The incarnation of the id; with `offset` it is a position for `from`. */
  readonly epoch?: string;
  readonly offset: number;
  /** Cancel the stream on the server. All its readers see the end, this one too. */
  stop(): Promise<void>;
  /** Stop reading. The stream goes on at the server. */
  close(): void;
  addEventListener(type: "state", listener: (event: StateEvent) => void, options?: AddEventListenerOptions): void;
  removeEventListener(type: "state", listener: (event: StateEvent) => void): void;
}

/** A stream without its end. */
export class StreamError extends Error {
  readonly state: "failed" | "gone";
  /** The HTTP status of a refusal, or "error" for a stream that failed. */
  readonly status?: number | "error";
  readonly code?: string;
  readonly detail?: string;
}

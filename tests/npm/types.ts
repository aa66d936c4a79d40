/** Every type of the package, used as pages use them. `tsc` checks it: see tests/servers/test_package.py. */

import {
  StreamError,
  createFetch,
  follow,
  resumableFetch,
  resume,
  type ConnectionOptions,
  type FollowOptions,
  type FollowedStream,
  type StateEvent,
  type StreamEvent,
  type StreamRequest,
  type StreamState,
} from "django-resumable-streams";
import type { ResumableStreamElement } from "django-resumable-streams/element";

type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
const isSame = <A, B>(_: Same<A, B>) => undefined;

const connection: Required<ConnectionOptions> = {
  token: async () => "secret",
  csrf: () => "token",
  address: (id) => new URL(`/streams/${id}/`, "https://example.com"),
  silence: 45_000,
  firstPause: 500,
  longestPause: 10_000,
  fetch,
};
const options = {
  ...connection,
  key: "answer",
  storage: sessionStorage,
  from: { epoch: "e", offset: 1 },
} satisfies FollowOptions;
const wide: FollowOptions = options;
const request: StreamRequest = {
  url: new URL("https://example.com/answer/"),
  method: "POST",
  body: { question: "Why?" },
  headers: { "X-Mine": "1" },
  credentials: "include",
};

export async function readText() {
  const stream = follow(request, options);
  isSame<typeof stream, FollowedStream<string>>(true);
  stream.addEventListener("state", (event) => {
    isSame<typeof event, StateEvent>(true);
    isSame<typeof event.state, StreamState>(true);
    const told: [number, number | undefined, "done" | "cancelled" | undefined, Error | undefined] = [
      event.offset,
      event.wait,
      event.status,
      event.error,
    ];
    return told;
  });
  try {
    for await (const text of stream) text.toUpperCase();
  } catch (error) {
    if (!(error instanceof StreamError)) throw error;
    isSame<typeof error.state, "failed" | "gone">(true);
    isSame<typeof error.status, number | "error" | undefined>(true);
    console.log(error.code, error.detail);
  }
  await stream.stop();
  stream.close();
  isSame<[typeof stream.id, typeof stream.epoch, typeof stream.offset], [string | undefined, string | undefined, number]>(true);
}

export async function readItems() {
  for await (const event of follow("/a/", { as: "events" })) isSame<typeof event, StreamEvent>(true);
  for await (const bytes of follow("/a/", { as: "bytes" })) isSame<typeof bytes, Uint8Array>(true);
  for await (const part of follow<{ type: string }>("/a/", { as: "json" })) part.type.trim();
  for await (const part of follow("/a/", { as: "json" })) isSame<typeof part, unknown>(true);
  for await (const text of follow(new URL("https://example.com/"), { as: "text" })) text.trim();
  for await (const item of follow("/a/", wide)) isSame<typeof item, unknown>(true);
}

export function readAgain() {
  const numbers = resume<number>("answer", { as: "json" });
  isSame<typeof numbers, FollowedStream<number> | null>(true);
  const again = resume("answer", { as: "events" });
  isSame<typeof again, FollowedStream<StreamEvent> | null>(true);
  return resume("answer") ?? follow("/a/");
}

export async function fetchOnce(input: RequestInfo): Promise<Response> {
  const fetches: (typeof fetch)[] = [resumableFetch, createFetch(), createFetch(connection)];
  return fetches[0](input, { signal: AbortSignal.timeout(1) });
}

export function stopElement() {
  const element = document.querySelector("resumable-stream");
  isSame<typeof element, ResumableStreamElement | null>(true);
  return element?.stop();
}

// Mistakes are found.
// @ts-expect-error
follow("/a/", { as: "lines" });
// @ts-expect-error
follow({ method: "POST" });
// @ts-expect-error
follow("/a/", { slience: 1 });
// @ts-expect-error
createFetch({ key: "answer" });
// @ts-expect-error
follow("/a/").addEventListener("status", () => undefined);

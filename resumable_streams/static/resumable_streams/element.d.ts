import type { FollowedStream } from "./client.js";

/** `<resumable-stream src>`: appends the text of a stream; its attribute `state` is the state. */
export interface ResumableStreamElement extends HTMLElement {
  readonly stream?: FollowedStream<string>;
  /** Cancel the stream on the server. */
  stop(): Promise<void> | undefined;
}

declare global {
  interface HTMLElementTagNameMap {
    "resumable-stream": ResumableStreamElement;
  }
}

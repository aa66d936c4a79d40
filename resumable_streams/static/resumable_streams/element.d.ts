import type { FollowedStream, StreamEvent } from "./client.js";

/**
 * `<resumable-stream src>`: appends the text of a stream; its attribute `state` is the state.
 *
 * `format="html"` inserts the fragments of a stream of the format html, `target` is the selector of
 * another element to fill, and with `replace` each item takes the place of the one before.
 */
export interface ResumableStreamElement extends HTMLElement {
  readonly stream?: FollowedStream<string> | FollowedStream<StreamEvent>;
  /** Cancel the stream on the server. */
  stop(): Promise<void> | undefined;
}

declare global {
  interface HTMLElementTagNameMap {
    "resumable-stream": ResumableStreamElement;
  }
}

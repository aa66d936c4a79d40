/** A stream in a component: its text so far, its state, and how it is begun and stopped. */

import { follow, resume } from "django-resumable-streams";
import type { FollowedStream, StateEvent, StreamRequest } from "django-resumable-streams";
import { useCallback, useEffect, useRef, useState } from "react";

/** Follow one stream at a time. One that runs under `key` is taken up when the component appears. */
export function useResumableStream(key: string, storage: Storage = sessionStorage) {
  const current = useRef<FollowedStream<string>>(null);
  const [text, setText] = useState("");
  const [event, setEvent] = useState<StateEvent>();

  const read = useCallback(async (stream: FollowedStream<string> | null) => {
    current.current?.close();
    current.current = stream;
    if (!stream) return;
    setText("");
    stream.addEventListener("state", setEvent);
    try {
      for await (const piece of stream) setText((text) => text + piece);
    } catch {
      // The last state tells.
    }
  }, []);

  useEffect(() => {
    read(resume(key, { storage }));
    return () => void read(null);
  }, [key, storage, read]);

  const start = (request: StreamRequest) => read(follow(request, { key, storage }));
  const stop = () => current.current?.stop();
  return { text, event, start, stop };
}

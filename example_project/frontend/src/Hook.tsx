/** One answer with `useResumableStream`. All tabs of this browser read the one that is running. */

import type { StateEvent } from "django-resumable-streams";
import type { Conversation } from "./chat";
import { Composer, Log, Message, Status } from "./parts";
import { useResumableStream } from "./useResumableStream";

const QUESTION = "question";
const number = new Intl.NumberFormat("en");

export default function Hook({ conversation }: { conversation: Conversation }) {
  const { text, event, start, stop } = useResumableStream("react", localStorage);
  const isBusy = /connecting|live|resumed|waiting/.test(event?.state ?? "");

  function ask(question: string) {
    localStorage.setItem(QUESTION, question);
    const message = { id: crypto.randomUUID(), role: "user", parts: [{ type: "text", text: question }] };
    start({ url: "/api/chat", method: "POST", body: { id: conversation.id, message } });
  }

  return (
    <>
      <Log isEmpty={!event}>
        {event && <Message role="user">{localStorage.getItem(QUESTION)}</Message>}
        {text && (
          <Message role="assistant" isBusy={isBusy}>
            {text}
          </Message>
        )}
      </Log>
      <div id="bottom">
        <div className="column">
          <Status lamp={event?.state ?? "idle"} words={wordsOf(event)} />
          <Composer isBusy={isBusy} onAsk={ask} onStop={stop} />
        </div>
      </div>
    </>
  );
}

function wordsOf(event?: StateEvent) {
  if (!event) return "Ready";
  const { state, offset, status, error } = event;
  if (state === "connecting") return "Connecting";
  if (state === "live") return "Live";
  if (state === "resumed") return `Live, resumed at byte ${number.format(offset)}`;
  if (state === "waiting") return `No connection at byte ${number.format(offset)}`;
  if (state === "ended") return status === "cancelled" ? "Stopped" : "Ended";
  return `Failed: ${error?.message}`;
}

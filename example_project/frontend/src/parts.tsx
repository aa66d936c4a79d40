/** The parts that the pages share: status line, composer, message. */

import { type FormEvent, type KeyboardEvent, type ReactNode, type UIEvent, useLayoutEffect, useRef } from "react";

/** How it is going. A live region: it changes with the state, not with each word. */
export function Status({ lamp, words }: { lamp: string; words: string }) {
  return (
    <p id="status" data-state={lamp}>
      <i className="lamp" aria-hidden="true" />
      <span id="status-text" role="status">
        {words}
      </span>
    </p>
  );
}

export function Message({ role, status, isBusy, children }: MessageProps) {
  return (
    <li className={`message ${role}`} data-status={status} aria-busy={isBusy || undefined}>
      <h2 className="visually-hidden">{role === "user" ? "You" : "Answer"}</h2>
      <div className="body">{children}</div>
    </li>
  );
}

interface MessageProps {
  role: string;
  status?: string;
  isBusy?: boolean;
  children: ReactNode;
}

export function Empty() {
  return (
    <section id="empty">
      <h2>Ask, then try to lose the answer</h2>
      <p>Reload in the middle of it, go offline, open a second tab. The answer goes on where it was.</p>
    </section>
  );
}

/** The list of messages, which the keyboard scrolls. It follows its end until somebody scrolls up. */
export function Log({ isEmpty, children }: { isEmpty: boolean; children: ReactNode }) {
  const page = useRef<HTMLDivElement>(null);
  const isAtEnd = useRef(true);

  useLayoutEffect(() => {
    if (isAtEnd.current) page.current!.scrollTop = page.current!.scrollHeight;
  });

  const onScroll = ({ currentTarget: { scrollHeight, scrollTop, clientHeight } }: UIEvent) => {
    isAtEnd.current = scrollHeight - scrollTop - clientHeight < 50;
  };

  return (
    <div id="page" ref={page} onScroll={onScroll} tabIndex={0} role="region" aria-label="Conversation">
      <div className="column">
        {isEmpty && <Empty />}
        <div role="log" aria-label="Messages">
          <ol id="messages">{children}</ol>
        </div>
      </div>
    </div>
  );
}

interface ComposerProps {
  isBusy: boolean;
  onAsk: (question: string) => void;
  onStop: () => void;
}

/** Ask with Enter, stop with Escape. */
export function Composer({ isBusy, onAsk, onStop }: ComposerProps) {
  const input = useRef<HTMLTextAreaElement>(null);

  function ask(event: FormEvent) {
    event.preventDefault();
    const question = input.current!.value.trim();
    if (!question || isBusy) return;
    onAsk(question);
    input.current!.value = "";
    input.current!.focus(); // the button that had the focus is about to go
  }

  function stop() {
    onStop();
    input.current!.focus();
  }

  function press(event: KeyboardEvent) {
    if (event.key === "Escape" && isBusy) stop();
    if (event.key === "Enter" && !event.shiftKey && !event.nativeEvent.isComposing) ask(event);
  }

  return (
    <form id="composer" onSubmit={ask} onKeyDown={press}>
      <textarea ref={input} rows={1} maxLength={8000} aria-label="Your question" placeholder="Ask something" autoFocus />
      {isBusy ? (
        <button type="button" className="button" aria-keyshortcuts="Escape" onClick={stop}>
          Stop
        </button>
      ) : (
        <button className="button primary">Send</button>
      )}
    </form>
  );
}

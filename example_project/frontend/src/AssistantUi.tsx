/** The same chat with the primitives of assistant-ui, whose runtime takes what `useChat` returns. */

import {
  AssistantRuntimeProvider,
  AuiIf,
  ComposerPrimitive,
  MessagePrimitive,
  ThreadPrimitive,
  useAuiState,
} from "@assistant-ui/react";
import { useAISDKRuntime } from "@assistant-ui/react-ai-sdk";
import { type Conversation, stateOf, useConversation } from "./chat";
import { Empty, Message, Status } from "./parts";

export default function AssistantUi({ conversation }: { conversation: Conversation }) {
  const chat = useConversation(conversation);
  return (
    <AssistantRuntimeProvider runtime={useAISDKRuntime(chat)}>
      <ThreadPrimitive.Root id="thread">
        <ThreadPrimitive.Viewport id="page" tabIndex={0} role="region" aria-label="Conversation">
          <div className="column">
            <AuiIf condition={({ thread }) => thread.isEmpty}>
              <Empty />
            </AuiIf>
            <div role="log" aria-label="Messages">
              <ol id="messages">
                <ThreadPrimitive.Messages>{() => <ThreadMessage />}</ThreadPrimitive.Messages>
              </ol>
            </div>
          </div>
        </ThreadPrimitive.Viewport>
        <div id="bottom">
          <div className="column">
            <Status {...stateOf(chat)} />
            <ThreadComposer />
          </div>
        </div>
      </ThreadPrimitive.Root>
    </AssistantRuntimeProvider>
  );
}

function ThreadMessage() {
  const role = useAuiState(({ message }) => message.role);
  const isBusy = useAuiState(({ message }) => message.status?.type === "running");
  return (
    <Message role={role} isBusy={isBusy}>
      <MessagePrimitive.Parts components={{ Text: ({ text }) => text }} />
    </Message>
  );
}

function ThreadComposer() {
  return (
    <ComposerPrimitive.Root id="composer">
      <ComposerPrimitive.Input rows={1} maxLength={8000} aria-label="Your question" placeholder="Ask something" autoFocus />
      <AuiIf condition={({ thread }) => !thread.isRunning}>
        <ComposerPrimitive.Send className="button primary">Send</ComposerPrimitive.Send>
      </AuiIf>
      <AuiIf condition={({ thread }) => thread.isRunning}>
        <ComposerPrimitive.Cancel className="button" aria-keyshortcuts="Escape">
          Stop
        </ComposerPrimitive.Cancel>
      </AuiIf>
    </ComposerPrimitive.Root>
  );
}

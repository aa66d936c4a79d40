/** A chat with `useChat` of the AI SDK. */

import { type Conversation, stateOf, useConversation } from "./chat";
import { Composer, Log, Message, Status } from "./parts";

export default function UseChat({ conversation }: { conversation: Conversation }) {
  const chat = useConversation(conversation);
  const isBusy = chat.status === "submitted" || chat.status === "streaming";
  return (
    <>
      <Log isEmpty={!chat.messages.length}>
        {chat.messages.map(({ id, role, parts, metadata }, index) => (
          <Message key={id} role={role} status={metadata?.status} isBusy={isBusy && index === chat.messages.length - 1}>
            {parts.map((part) => (part.type === "text" ? part.text : ""))}
          </Message>
        ))}
      </Log>
      <div id="bottom">
        <div className="column">
          <Status {...stateOf(chat)} />
          <Composer isBusy={isBusy} onAsk={(text) => chat.sendMessage({ text })} onStop={chat.stop} />
        </div>
      </div>
    </>
  );
}

/** A conversation of `resumable_streams.contrib.chat`, with the `useChat` of the AI SDK. */

import { useChat } from "@ai-sdk/react";
import { DefaultChatTransport, type UIMessage } from "ai";
import { resumableFetch } from "django-resumable-streams";
import { useState } from "react";

/** What the app keeps with each message. */
interface Metadata {
  status: "running" | "complete" | "stopped" | "failed";
  error?: string;
}

export type Message = UIMessage<Metadata>;

export interface Conversation {
  id: string;
  running: string | null;
  messages: Message[];
}

const headers = () => ({ "X-CSRFToken": /csrftoken=([^;]+)/.exec(document.cookie)?.[1] ?? "" });

/** Get a session and its CSRF token, as pages that Django renders have them, then the history. */
export async function openConversation(id: string): Promise<Conversation> {
  await fetch("/api/session");
  return getConversation(id);
}

async function getConversation(id: string): Promise<Conversation> {
  const response = await fetch(`/api/chat/${id}`);
  if (!response.ok) throw new Error(`The history of the chat answers ${response.status}.`);
  return response.json();
}

/** Chat, and go on with an answer that is being written; `stop` stops it at the server. */
export function useConversation({ id, messages, running }: Conversation) {
  const [transport] = useState(
    () =>
      new DefaultChatTransport<Message>({
        api: "/api/chat",
        fetch: resumableFetch,
        headers,
        prepareReconnectToStreamRequest: () => ({ api: `/api/chat/${id}/stream?stream=${running ?? ""}` }),
        prepareSendMessagesRequest: ({ messages, trigger, messageId }) => ({
          body: { id, message: messages.at(-1), trigger, messageId },
        }),
      }),
  );
  const chat = useChat<Message>({ id, messages, resume: true, transport, onFinish: () => void takeSaved() });

  // What is saved has the end of the answer, too: complete, stopped or failed.
  async function takeSaved() {
    const saved = await getConversation(id).catch(() => null);
    const last = saved?.messages.at(-1);
    if (saved && !saved.running) chat.setMessages((shown) => (shown.at(-1)?.id === last?.id ? saved.messages : shown));
  }

  const stop = async () => {
    await fetch(`/api/chat/${id}/stop`, { method: "POST", headers: headers() });
  };
  return { ...chat, stop };
}

/** Tell in words how a chat is doing, and in one word for its lamp. */
export function stateOf({ status, error, messages }: ReturnType<typeof useConversation>) {
  const end = messages.at(-1)?.metadata;
  if (status === "submitted") return { lamp: "connecting", words: "Waiting for the first words" };
  if (status === "streaming") return { lamp: "live", words: "Live" };
  if (end?.status === "failed") return { lamp: "failed", words: `Failed: ${end.error}` };
  if (error) return { lamp: "failed", words: `Failed: ${error.message}` };
  if (end?.status === "stopped") return { lamp: "ended", words: "Stopped" };
  if (end?.status === "complete") return { lamp: "ended", words: "Ended" };
  return { lamp: "idle", words: "Ready" };
}

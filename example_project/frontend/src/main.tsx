/** The pages: /react/, /react/assistant-ui and /react/hook. `?chat=` names the conversation. */

import { type ComponentType, StrictMode } from "react";
import { createRoot } from "react-dom/client";
import "../../chat/static/chat/chat.css";
import { type Conversation, openConversation } from "./chat";
import "./pages.css";

interface Page {
  path: string;
  name: string;
  load: () => Promise<{ default: ComponentType<{ conversation: Conversation }> }>;
}

const PAGES: Page[] = [
  { path: "/react/", name: "useChat", load: () => import("./UseChat") },
  { path: "/react/assistant-ui", name: "assistant-ui", load: () => import("./AssistantUi") },
  { path: "/react/hook", name: "A hook", load: () => import("./Hook") },
];

/** Return the conversation of the address, which a reload keeps. */
function conversationId() {
  const url = new URL(location.href);
  const id = url.searchParams.get("chat") ?? crypto.randomUUID();
  url.searchParams.set("chat", id);
  history.replaceState(null, "", url);
  return id;
}

const here = PAGES.find(({ path }) => path === location.pathname) ?? PAGES[0]!;
const [conversation, { default: Page }] = await Promise.all([openConversation(conversationId()), here.load()]);

createRoot(document.getElementById("root")!).render(
  <StrictMode>
    <div className="page react">
      <header>
        <h1>Resumable chat in React</h1>
        <nav aria-label="Pages">
          {PAGES.map(({ path, name }) => (
            <a key={path} className="button" href={path} aria-current={path === here.path ? "page" : undefined}>
              {name}
            </a>
          ))}
        </nav>
      </header>
      <main>
        <Page conversation={conversation} />
      </main>
    </div>
  </StrictMode>,
);

import { follow, resume } from "./client.js";

export async function answer(url, show, stopButton, token) {
  const options = { key: "answer", token };
  const stream = resume("answer", options) ?? follow({ url, method: "POST", body: { question: "Why?" } }, options);
  stopButton.onclick = () => stream.stop();
  for await (const text of stream) show(text);
}

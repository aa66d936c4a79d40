/** The panel beside the chat: bytes, offset, state, a timeline, and buttons that do the damage. */

const TAIL = 4_000; // characters
const EVENTS = 60;
const OFFLINE = 5_000; // milliseconds

const part = (id) => document.getElementById(id);
const number = new Intl.NumberFormat(document.documentElement.lang);
const clock = new Intl.NumberFormat(document.documentElement.lang, {
  minimumFractionDigits: 1,
  maximumFractionDigits: 1,
});

export class Panel {
  #wire;
  #post;
  #answer = null;
  #started = null;
  #received = 0;
  #connections = 0;
  #tail = "";
  #frame = null;
  #urls;

  /** `post(url)` sends a POST to this site; `urls` are those of `share` and `kill`. */
  constructor(wire, post, urls) {
    this.#wire = wire;
    this.#post = post;
    this.#urls = urls;
    const decoder = new TextDecoder();
    wire.addEventListener("connection", () => (this.#connections += 1));
    wire.addEventListener("bytes", ({ bytes }) => {
      this.#received += bytes.length;
      this.#tail = (this.#tail + decoder.decode(bytes, { stream: true })).slice(-TAIL);
      this.#draw();
    });
    part("cut").addEventListener("click", () => this.#cut());
    part("offline").addEventListener("click", () => this.#goOffline());
    part("share").addEventListener("click", () => this.#share());
    part("kill").addEventListener("click", () => this.#kill());
    this.#enable();
  }

  /** Show another answer from now on. */
  watch(answer) {
    this.#answer = answer;
    this.#received = this.#connections = 0;
    this.#tail = "";
    this.#started = performance.now();
    for (const id of ["timeline", "strip", "link"]) part(id).replaceChildren();
    answer.addEventListener("state", (event) => this.#note(answer, event));
    this.#enable();
    this.#draw();
  }

  #note(answer, { state, offset, wait }) {
    if (answer !== this.#answer) return;
    const words = {
      connecting: "Connecting",
      live: "Live, from byte 0",
      resumed: `Resumed at byte ${number.format(offset)}`,
      waiting: `Waiting ${clock.format(wait / 1000)} s, then from byte ${number.format(offset)}`,
      ended: answer.status === "cancelled" ? "Ended: stopped" : "Ended: complete",
      failed: "Failed",
      gone: "Gone",
    };
    this.#add(state, words[state]);
    this.#extend(state);
    this.#enable();
    this.#draw();
  }

  /** Put an entry into the timeline. */
  #add(kind, text) {
    const time = document.createElement("time");
    time.textContent = `${clock.format((performance.now() - (this.#started ?? performance.now())) / 1000)} s`;
    const entry = document.createElement("li");
    entry.dataset.kind = kind;
    entry.append(time, text);
    const list = part("timeline");
    list.append(entry);
    if (list.children.length > EVENTS) list.firstElementChild.remove();
    part("history").scrollTop = list.scrollHeight;
  }

  #extend(state) {
    this.#grow();
    if (["ended", "failed", "gone"].includes(state)) return;
    const segment = document.createElement("i");
    segment.dataset.state = state;
    segment.began = performance.now();
    part("strip").append(segment);
  }

  /** Let the last segment of the strip be as long as it has lasted. */
  #grow() {
    const segment = part("strip").lastElementChild;
    if (segment && this.#isReading) segment.style.flexGrow = Math.max(1, performance.now() - segment.began);
  }

  #draw() {
    this.#frame ??= requestAnimationFrame(() => {
      this.#frame = null;
      this.#grow();
      part("wire-state").textContent = this.#answer?.state ?? "idle";
      part("wire-state").dataset.state = this.#answer?.state ?? "idle";
      part("wire-offset").textContent = number.format(this.#answer?.stream.offset ?? 0);
      part("wire-received").textContent = number.format(this.#received);
      part("wire-connections").textContent = number.format(this.#connections);
      part("tail").textContent = this.#tail;
      part("tail").scrollTop = part("tail").scrollHeight;
    });
  }

  get #isReading() {
    return ["connecting", "live", "resumed", "waiting"].includes(this.#answer?.state);
  }

  // Not disabled: that would take the focus away, and the reason with it.
  #enable() {
    const isReading = this.#isReading;
    const hasStream = Boolean(this.#answer?.stream.id);
    part("cut").ariaDisabled = part("offline").ariaDisabled = String(!isReading || this.#wire.isOffline);
    part("share").ariaDisabled = String(!hasStream);
    part("kill").ariaDisabled = String(!isReading || !hasStream || !this.#urls.kill);
  }

  #cut() {
    if (part("cut").ariaDisabled === "true") return;
    this.#add("damage", "You cut the connection");
    this.#wire.cut();
  }

  async #goOffline() {
    if (part("offline").ariaDisabled === "true") return;
    this.#add("damage", `You went offline for ${OFFLINE / 1000} s`);
    await this.#wire.goOffline(OFFLINE);
    this.#add("damage", "The network is back");
    this.#enable();
  }

  async #share() {
    if (part("share").ariaDisabled === "true") return;
    const response = await this.#post(this.#urls.share.replace("ID", this.#answer.stream.id)).catch(() => null);
    if (!response?.ok) return this.#add("damage", "This answer cannot be shared any more");
    const { address } = await response.json();
    const link = document.createElement("a");
    link.href = address;
    link.target = "_blank";
    link.rel = "noopener";
    link.textContent = "Signed link, good for 10 minutes";
    part("link").replaceChildren(link);
    this.#add("damage", "You made a link for everybody");
  }

  async #kill() {
    if (part("kill").ariaDisabled === "true") return;
    this.#add("damage", "You killed the process that writes");
    // The process may be the one that would answer.
    const response = await this.#post(this.#urls.kill.replace("ID", this.#answer.stream.id)).catch(() => null);
    if (response && !response.ok) this.#add("damage", "It is gone already");
  }
}

/** Hand on the bytes of a stream of the format raw; return how it ended. */
export async function readByHand(address, show) {
  let offset = 0;
  let epoch = "";
  for (;;) {
    const position = epoch && `?epoch=${epoch}&offset=${offset}`;
    const response = await fetch(address + position).catch(() => null);
    if (response && !response.ok && response.status < 500) throw new Error(`refused: ${response.status}`);
    if (response?.ok) {
      epoch = response.headers.get("X-Resumable-Stream-Epoch");
      const reader = response.body.getReader();
      for (;;) {
        const { value } = await reader.read().catch(() => ({})); // a break, or an end
        if (!value) break;
        offset += value.length;
        show(value);
      }
    }
    const look = await fetch(address, { method: "HEAD" }).catch(() => null);
    const status = look?.headers.get("X-Resumable-Stream-Status");
    const isWhole = Number(look?.headers.get("X-Resumable-Stream-Size")) === offset;
    if (status && status !== "streaming" && isWhole) return status;
    await new Promise((wake) => setTimeout(wake, 1000));
  }
}

export const stop = (address, headers) => fetch(`${address}cancel/`, { method: "POST", headers });

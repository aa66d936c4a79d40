/** What a page keeps across reloads, for Node, which has none. */
export function newStorage() {
  const kept = new Map();
  return {
    getItem: (key) => kept.get(key) ?? null,
    setItem: (key, value) => kept.set(key, value),
    removeItem: (key) => kept.delete(key),
    get length() {
      return kept.size;
    },
  };
}

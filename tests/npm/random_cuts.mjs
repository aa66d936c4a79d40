/** Random bytes at which to cut, the same ones at each run. */

export function randomCuts(count, { seed, longest }) {
  let state = seed;
  return Array.from({ length: count }, () => {
    state = (state * 1103515245 + 12345) % 2 ** 31;
    return 1 + Math.floor((state / 2 ** 31) * longest);
  });
}

"""The pace of bulk work: how many streams at a time, judged by how long the server takes.

A server carries out one command after the other, so whoever appends meanwhile waits behind the step
before it. Steps are small for that, and become smaller, with rests between them, when a step takes
much longer than one of the same size has taken: then the server, or the way to it, is busy with
others.
"""

__all__ = ["LEAST", "MOST", "MOST_REST_SECONDS", "Pace"]

LEAST, MOST = 16, 64  # streams
SLOW = 3  # times the shortest step of that size
MOST_REST_SECONDS = 0.02  # a step of the least size, then, still makes progress on a slow server


class Pace:
    """The size of the next step, by the time that the steps before took."""

    def __init__(self) -> None:
        self.step = LEAST
        self._shortest: dict[int, float] = {}

    def took(self, seconds: float) -> float:
        """Note how long a whole step took; return how many seconds to rest before the next."""
        shortest = self._shortest.setdefault(self.step, seconds)
        self._shortest[self.step] = min(shortest, seconds)
        if seconds <= SLOW * shortest:
            self.step = min(MOST, 2 * self.step)
            return 0.0
        self.step = max(LEAST, self.step // 2)
        return min(seconds, MOST_REST_SECONDS)

"""What the tests of this folder used to find here; it lives in `tests.tools.streams` now."""

from tests.tools.streams import MEMORY, REDIS, Configure

__all__ = ["MEMORY", "REDIS", "Configure"]

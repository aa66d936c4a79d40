"""Sources and readers, which live in `tests.tools` now."""

from tests.tools.readers import read_all, read_until
from tests.tools.sources import Tap, finished

__all__ = ["Tap", "finished", "read_all", "read_until"]

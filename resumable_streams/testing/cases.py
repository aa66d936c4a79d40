"""The mixin for test cases of Django."""

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, ClassVar

from .isolation import isolated_streams

__all__ = ["StreamTestMixin"]

if TYPE_CHECKING:
    from unittest import TestCase as Base
else:
    Base = object  # or test runners would take the mixin for a test case


class StreamTestMixin(Base):
    """A mixin that gives each test streams of its own, as `isolated_streams` does.

        class AnswerTests(StreamTestMixin, TestCase):
            ...

    It comes first, before Django's TestCase, TransactionTestCase or LiveServerTestCase. Nothing is
    to be called: it works around `setUp` and `tearDown`.
    """

    streams_in_memory: ClassVar[bool] = True
    """Whether the streams are in memory, and not in the store of the settings."""

    def run(self, result: Any = None) -> Any:
        streams = isolated_streams(in_memory=self.streams_in_memory, test=self.id())
        with ExitStack() as kept:
            kept.enter_context(streams)
            self.addCleanup(kept.close)  # the last one; its errors are the test's
            return super().run(result)  # of a skipped test, nothing is cleaned up

"""The opening of a source: a view sees what its source is before it answers.

Production is apart from the request, so a wrong source would show as a 200 that breaks off.
"""

import asyncio
from concurrent.futures import Future
from inspect import isawaitable
from typing import Any

from ..engine.reader import StreamReader
from ..producing.sources import Iterables, Source, WrongSource, refuse_wrong
from ..types import Role

__all__ = ["Opening"]

OPENING_SECONDS = 1.0
"""How long an answer waits at most: a coroutine may ask its provider before it returns."""


class Opening:
    """A source that tells the waiting answer when it is open, or why it is no source."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._opened: Future[None] = Future()

    async def __call__(self) -> Iterables:
        """Open the source, for its producer."""
        try:
            made: Any = self._source() if callable(self._source) else self._source
            opened: Iterables = refuse_wrong(await made if isawaitable(made) else made)
        except WrongSource as error:
            self._opened.set_exception(error)
            raise
        except BaseException:  # the source has failed, which its readers are told
            self._opened.set_result(None)
            raise
        self._opened.set_result(None)
        return opened

    async def seen(self, reader: StreamReader) -> StreamReader:
        """Return the reader of the stream; raise WrongSource if it is produced from none."""
        if reader.role is not Role.PRODUCER:
            return reader
        opened = asyncio.wrap_future(self._opened)
        opened.add_done_callback(_observe)  # also after we have left: the producer tells of it
        await asyncio.wait([opened], timeout=OPENING_SECONDS)
        if opened.done() and (error := opened.exception()) is not None:
            reader.close()
            raise error
        return reader


def _observe(opened: asyncio.Future[None]) -> None:
    if not opened.cancelled():
        opened.exception()

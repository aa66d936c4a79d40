"""The base class of `rotate` and `revoke`: one write that cuts off, and a count after it."""

from argparse import ArgumentParser
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from resumable_streams.exceptions import StoreUnavailable
from resumable_streams.operating.affected import Affected, count_affected
from resumable_streams.operating.bulk import Progress
from resumable_streams.operating.selection import Selection
from resumable_streams.stores.base import BaseStore
from resumable_streams.types import StreamInfo

from .acting import ActingVerb, streams

__all__ = ["CuttingVerb"]


class CuttingVerb(ActingVerb):
    """A verb that makes streams unreachable by one write, however many they are.

    It cuts off first and counts then, so the count delays nothing. A count that fails or is
    interrupted does not undo the act.
    """

    all_tenants = False

    @classmethod
    def add_arguments(cls, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--no-count",
            action="store_true",
            help="do not count the streams, which takes a walk over the keys of the store",
        )

    def __init__(self, options: Mapping[str, Any]):
        super().__init__(options)
        self.affected = Affected()

    @property
    def needs_engine(self) -> bool:
        return not self.dry_run

    @property
    def hits(self) -> int:
        return self.affected.streams

    async def count(
        self,
        store: BaseStore,
        selection: Selection,
        progress: Progress,
        is_affected: Callable[[StreamInfo], Awaitable[bool]],
    ) -> None:
        """Count what the write affects, unless the operator said not to."""
        if self.options["no_count"]:
            return
        try:
            await count_affected(self.start(store, selection), progress, self.affected, is_affected)
        except StoreUnavailable as error:
            if self.dry_run:
                raise
            self.warnings.append(f"The streams are cut off, but could not be counted. {error}")

    def counts(self) -> dict[str, Any]:
        if self.options["no_count"]:
            return {}
        counted = {"streams": self.affected.streams}
        # After the act, what ran has ended.
        return counted | ({"running": self.affected.running} if self.dry_run else {})

    def number(self) -> str:
        """Return how many streams, in words."""
        if self.options["no_count"]:
            return "not counted"
        least = "" if self.affected.is_complete else "at least "
        running = f", {self.affected.running:,} of them running" if self.dry_run else ""
        return f"{least}{streams(self.affected.streams)}{running}"

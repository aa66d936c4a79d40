"""`rotate`: start a new generation."""

from argparse import ArgumentParser
from collections.abc import Mapping
from functools import partial
from typing import Any

from django.db import Error as DatabaseTrouble

from resumable_streams.control import FIRST_GENERATION, rotate
from resumable_streams.control.saved import saved_generations
from resumable_streams.models import IncidentAction
from resumable_streams.operating.bulk import Progress, purge
from resumable_streams.operating.selection import Selection
from resumable_streams.stores.base import BaseStore
from resumable_streams.types import PUBLIC, Owner, StreamInfo

from .acting import streams
from .cutting import CuttingVerb

__all__ = ["Rotate"]


class Rotate(CuttingVerb):
    """The verb that starts a new generation of a tenant, and purges the old ones if asked."""

    name = "rotate"
    help = "Start a new generation: every stream of the tenant becomes unreachable at once."
    action = IncidentAction.Action.ROTATE

    @classmethod
    def add_arguments(cls, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--purge-old", action="store_true", help="then delete the streams of older generations"
        )

    def __init__(self, options: Mapping[str, Any]):
        super().__init__(options)
        self.purge_old: bool = options["purge_old"]
        self.generation: int | None = None
        self._marks: dict[Owner, float | None] = {}

    def question(self) -> str:
        then = ", and delete them" if self.purge_old else ""
        return f"Make every stream in {self.where} unreachable{then}?"

    def arguments(self) -> dict[str, Any]:
        return super().arguments() | ({"purge_old": True} if self.purge_old else {})

    async def run(self, store: BaseStore) -> None:
        assert self.tenant is not None  # noqa: S101 - the parser requires it
        if self.dry_run:
            self.generation = await self._next_generation(store, self.tenant)
        else:
            self.generation = await rotate(self.alias, self.tenant)
        until_now = Selection(tenant=self.tenant, generation=self.generation - 1)
        # With a purge, the bar is about the purge.
        progress = Progress() if self.purge_old else self.progress
        await self.count(store, until_now, progress, partial(self._is_reachable, store))
        if self.purge_old:
            old = Selection(tenant=self.tenant, before_generation=self.generation)
            await purge(self.start(store, old), self.progress, dry_run=self.dry_run)

    async def _is_reachable(self, store: BaseStore, info: StreamInfo) -> bool:
        """Return whether the owner of a stream is not revoked; one look for each owner."""
        if info.owner not in self._marks:
            self._marks[info.owner] = (await store.get_control(info.tenant, info.owner)).revoked_at
        mark = self._marks[info.owner]
        return mark is None or info.seen_mark >= mark

    async def _next_generation(self, store: BaseStore, tenant: str) -> int:
        """Return the generation that a rotation would start, from store and database."""
        in_force = (await store.get_control(tenant, PUBLIC)).generation
        try:
            saved = (await saved_generations(self.alias)).get(tenant)
        except DatabaseTrouble:
            saved = None
            self.warnings.append(
                "The database did not answer. Without it, `rotate` changes nothing: cut off with "
                "`revoke`, or erase with `purge`."
            )
        return max(in_force or FIRST_GENERATION, saved or FIRST_GENERATION) + 1

    def counts(self) -> dict[str, Any]:
        counted: dict[str, Any] = {"generation": self.generation, **super().counts()}
        return counted | ({"purged": self.progress.done} if self.purge_old else {})

    def report(self) -> list[str]:
        if self.generation is None and self.may_have_acted:
            return [f"The generation of {self.where} may have changed. Repeat the command."]
        if self.generation is None:
            return [f"The generation of {self.where} is unchanged."]
        verb = "would be in force" if self.dry_run else "is in force"
        would = self.would("cut off") if self.dry_run else "are cut off"
        lines = [
            f"Generation {self.generation} of {self.where} {verb}.",
            f"The streams acquired before it {would}: {self.number()}.",
        ]
        if self.purge_old:
            older = streams(self.progress.done, "older stream")
            lines.append(f"{older} {self.would('purged')}.")
        return lines

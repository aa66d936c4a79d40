"""`rotate`: start a new generation."""

from argparse import ArgumentParser
from collections.abc import Mapping
from typing import Any

from resumable_streams.control import rotate
from resumable_streams.models import IncidentAction
from resumable_streams.operating.bulk import purge
from resumable_streams.operating.selection import Selection
from resumable_streams.stores.base import BaseStore
from resumable_streams.types import PUBLIC

from .acting import ActingVerb

__all__ = ["Rotate"]


class Rotate(ActingVerb):
    """The verb that starts a new generation of a tenant, and purges the old ones if asked."""

    name = "rotate"
    help = "Start a new generation: every stream of the tenant becomes unreachable at once."
    action = IncidentAction.Action.ROTATE
    all_tenants = False

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

    def question(self) -> str:
        then = ", and delete them" if self.purge_old else ""
        return f"Make every stream in {self.where} unreachable{then}?"

    def arguments(self) -> dict[str, Any]:
        return super().arguments() | ({"purge_old": True} if self.purge_old else {})

    @property
    def needs_engine(self) -> bool:
        return not self.dry_run

    async def run(self, store: BaseStore) -> None:
        assert self.tenant is not None  # noqa: S101 - the parser requires it
        if self.dry_run:
            in_force = (await store.get_control(self.tenant, PUBLIC)).generation or 1
            self.generation = in_force + 1
        else:
            self.generation = await rotate(self.alias, self.tenant)
        if self.purge_old:
            old = Selection(tenant=self.tenant, before_generation=self.generation)
            await purge(self.start(store, old), self.progress, dry_run=self.dry_run)

    def counts(self) -> dict[str, Any]:
        counted: dict[str, Any] = {"generation": self.generation}
        return counted | ({"purged": self.progress.done} if self.purge_old else {})

    def report(self) -> list[str]:
        if self.generation is None and self.may_have_acted:
            return [f"The generation of {self.where} may have changed."]
        if self.generation is None:
            return [f"The generation of {self.where} is unchanged."]
        verb = "would be in force" if self.dry_run else "is in force"
        lines = [f"Generation {self.generation} of {self.where} {verb}."]
        if self.purge_old:
            lines.append(f"{self.progress.done:,} older streams {self.would('purged')}.")
        return lines

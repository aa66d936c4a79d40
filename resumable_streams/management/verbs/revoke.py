"""revoke: cut one owner off."""

from argparse import ArgumentParser
from collections.abc import Mapping
from typing import Any

from resumable_streams.control import revoke
from resumable_streams.engine import Engine
from resumable_streams.identifiers import owner_digest
from resumable_streams.management.arguments import chosen_owner, owner_arguments
from resumable_streams.models import IncidentAction
from resumable_streams.types import PUBLIC

from .audit import _when
from .verb import Verb

__all__ = ["Revoke"]


class Revoke(Verb):
    """Bar what an owner has acquired so far: one write, whatever the number of streams."""

    name = "revoke"
    help = "Bar every stream that one owner has acquired so far; new ones work."
    action = IncidentAction.Action.REVOKE
    all_tenants = False

    @classmethod
    def add_arguments(cls, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        owner_arguments(parser, required=True)

    def __init__(self, options: Mapping[str, Any]):
        super().__init__(options)
        self.owner = chosen_owner(options) or PUBLIC
        self.digest = owner_digest(self.owner)
        self.mark: float | None = None

    def question(self) -> str:
        return f"Bar every stream that owner {self.digest} has acquired in {self.where}?"

    def arguments(self) -> dict[str, Any]:
        return super().arguments() | {"owner": self.digest}

    async def run(self, engine: Engine) -> None:
        assert self.tenant is not None  # noqa: S101 - the parser requires it
        if self.dry_run:
            await engine.store.get_control(self.tenant, self.owner)
        else:
            self.mark = await revoke(self.alias, self.tenant, self.owner)

    def counts(self) -> dict[str, Any]:
        return {"owner": self.digest, "revoked_at": self.mark}

    def report(self) -> list[str]:
        if self.dry_run:
            return [f"Owner {self.digest} would be revoked in {self.where}."]
        if self.may_have_acted:
            return [f"Owner {self.digest} may have been revoked in {self.where}."]
        if self.mark is None:
            return [f"Owner {self.digest} is not revoked in {self.where}."]
        until = _when(self.mark)
        return [f"What owner {self.digest} has acquired in {self.where} until {until} is revoked."]

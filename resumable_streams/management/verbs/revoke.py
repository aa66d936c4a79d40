"""`revoke`: cut one owner off."""

from argparse import ArgumentParser
from collections.abc import Mapping
from typing import Any

from resumable_streams.control import revoke
from resumable_streams.identifiers import owner_digest
from resumable_streams.management.arguments import chosen_owner, owner_arguments
from resumable_streams.models import IncidentAction
from resumable_streams.stores.base import BaseStore
from resumable_streams.types import PUBLIC

from .acting import ActingVerb
from .audit import _when

__all__ = ["Revoke"]


class Revoke(ActingVerb):
    """The verb that revokes what an owner has acquired so far: one write, however many streams."""

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

    @property
    def needs_engine(self) -> bool:
        return not self.dry_run

    async def run(self, store: BaseStore) -> None:
        assert self.tenant is not None  # noqa: S101 - the parser requires it
        if self.dry_run:
            await store.get_control(self.tenant, self.owner)
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
        whose = f"owner {self.digest} in {self.where}"
        return [f"The streams of {whose}, acquired until {until}, are revoked."]

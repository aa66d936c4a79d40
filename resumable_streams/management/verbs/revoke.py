"""`revoke`: cut one owner off."""

from argparse import ArgumentParser
from collections.abc import Mapping
from typing import Any

from resumable_streams.control import revoke
from resumable_streams.identifiers import owner_digest
from resumable_streams.management.arguments import chosen_owner, owner_arguments
from resumable_streams.models import IncidentAction
from resumable_streams.operating.selection import Selection
from resumable_streams.stores.base import BaseStore
from resumable_streams.types import PUBLIC, StreamInfo

from .audit import _when
from .cutting import CuttingVerb

__all__ = ["Revoke"]


class Revoke(CuttingVerb):
    """The verb that revokes what an owner has acquired so far: one write, however many streams."""

    name = "revoke"
    help = "Bar every stream that one owner has acquired so far; new ones work."
    action = IncidentAction.Action.REVOKE

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

    async def run(self, store: BaseStore) -> None:
        assert self.tenant is not None  # noqa: S101 - the parser requires it
        before = after = await store.get_control(self.tenant, self.owner)
        if not self.dry_run:
            self.mark = await revoke(self.alias, self.tenant, self.owner)
            after = await store.get_control(self.tenant, self.owner)

        async def is_affected(info: StreamInfo) -> bool:
            return before.admits(info) and (self.dry_run or not after.admits(info))

        selection = Selection(tenant=self.tenant, owner=self.owner)
        await self.count(store, selection, self.progress, is_affected)

    def counts(self) -> dict[str, Any]:
        return {"owner": self.digest, "revoked_at": self.mark} | super().counts()

    def report(self) -> list[str]:
        whose = f"owner {self.digest} in {self.where}"
        if self.dry_run:
            return [f"The streams of {whose} would be revoked: {self.number()}."]
        if self.mark is None and self.may_have_acted:
            return [f"The streams of {whose} may have been revoked. Repeat the command."]
        if self.mark is None:
            return [f"The streams of {whose} are not revoked."]
        until = _when(self.mark)
        line = f"The streams of {whose}, acquired until {until}, are revoked: {self.number()}."
        if self.affected.is_complete and not self.affected.streams:
            return [line, "No stream was cut off: this owner had none that could be resumed."]
        return [line, "Nobody can resume them; their readers and producers end. New streams work."]

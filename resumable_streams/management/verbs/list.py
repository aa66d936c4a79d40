"""`list`: the running streams."""

import json
from argparse import ArgumentParser
from collections.abc import Mapping
from typing import Any

from django.core.management.base import CommandError

from resumable_streams.identifiers import owner_digest
from resumable_streams.management.arguments import chosen_owner, number, owner_arguments
from resumable_streams.models import IncidentAction
from resumable_streams.stores.base import BaseStore, known
from resumable_streams.types import PUBLIC, Listed, Owner, StreamInfo, StreamStatus

from .acting import ActingVerb, streams

__all__ = ["List"]

PAGE = 100


class List(ActingVerb):
    """The verb that lists streams from the index, without a walk over the keys."""

    name = "list"
    help = "List the running streams of a tenant, or of one owner in it."
    description = (
        "List the running streams of a tenant, or of one owner in it, the newest first, from an "
        "index: it takes as long as its output. --status lists ended streams of an owner. It "
        "changes nothing and reads no content; owners are named by their digest."
    )
    action = IncidentAction.Action.LIST
    all_tenants = False
    asks = False

    @classmethod
    def add_arguments(cls, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        which = parser.add_argument_group("which streams")
        owner_arguments(which)
        which.add_argument(
            "--status",
            default=StreamStatus.STREAMING.value,
            choices=[status.value for status in StreamStatus],
            metavar="STATE",
            help=f"one of {', '.join(StreamStatus)} ({StreamStatus.STREAMING}); needs an owner for "
            f"the others",
        )
        which.add_argument(
            "--limit", type=number, default=PAGE, metavar="N", help=f"streams at most ({PAGE})"
        )

    def __init__(self, options: Mapping[str, Any]):
        super().__init__(options)
        self.owner: Owner | None = chosen_owner(options)
        self.status = StreamStatus(options["status"])
        if self.owner is None and self.status is not StreamStatus.STREAMING:
            raise CommandError(
                "Ended streams are indexed by owner: name one. `audit --status` counts those of a "
                "tenant."
            )
        self.found: list[StreamInfo] = []
        self.is_all = True

    def arguments(self) -> dict[str, Any]:
        owner = None if self.owner is None else owner_digest(self.owner)
        given = {"owner": owner, "status": self.status.value, "limit": self.options["limit"]}
        return super().arguments() | {name: value for name, value in given.items() if value}

    async def run(self, store: BaseStore) -> None:
        tenant: str = self.options["tenant"]
        control = await store.get_control(tenant, PUBLIC)
        is_live, limit = self.status is StreamStatus.STREAMING, self.options["limit"]
        last: Listed | None = None
        while True:
            entries = await store.listed(
                tenant,
                None if self.owner is None else owner_digest(self.owner),
                generation=None if is_live else control.generation or 1,
                after=last,
                limit=PAGE,
            )
            await self._look(store, entries)
            if len(self.found) >= limit:
                self.is_all = len(self.found) == limit and len(entries) < PAGE
                del self.found[limit:]
                return
            if len(entries) < PAGE:
                return
            last = entries[-1]

    async def _look(self, store: BaseStore, entries: list[Listed]) -> None:
        """Keep those whose own state says that they are as asked for."""
        states = await store.status([entry.holding.key for entry in entries])
        self.progress.add(len(entries), 0)
        for entry, state in zip(entries, states, strict=True):
            info = known(state)
            if info and info.epoch == entry.holding.epoch and info.status is self.status:
                self.found.append(info)

    @property
    def hits(self) -> int:
        return len(self.found)

    def counts(self) -> dict[str, Any]:
        return {"streams": len(self.found), "is_all": self.is_all}

    def details(self) -> dict[str, Any]:
        return {"streams": list(map(_as_json, self.found))}

    def report(self) -> list[str]:
        lines = [f"{streams(len(self.found), f'{self.status} stream')} in {self.where}."]
        lines += [_row(info) for info in self.found]
        return lines if self.is_all else [*lines, "There are more: raise --limit."]


def _age(info: StreamInfo) -> float:
    return max(0.0, info.expires - info.ttl - info.created)


def _as_json(info: StreamInfo) -> dict[str, Any]:
    return {
        "id": info.stream_id,
        "generation": info.generation,
        "epoch": info.epoch,
        "owner_digest": owner_digest(info.owner),
        "status": info.status.value,
        "error": info.error_code or None,
        "size": info.size,
        "age": round(_age(info), 3),
        "created": info.created,
        "expires": info.expires,
        "slot": info.slot or None,
        "process": info.holder,
    }


def _row(info: StreamInfo) -> str:
    slot = f"  slot {json.dumps(info.slot)}" if info.slot else ""
    return (
        f"  {info.stream_id}  {_age(info):,.0f} s  {info.size:,} bytes  "
        f"owner {owner_digest(info.owner)}  g{info.generation}{slot}"
    )

"""`tail`: the content of one stream, for an operator."""

import asyncio
import base64
from argparse import ArgumentParser
from collections.abc import Mapping
from typing import Any

from resumable_streams.identifiers import owner_digest, validate_stream_id
from resumable_streams.management.arguments import chosen_owner, number, owner_arguments
from resumable_streams.management.console import Terminal
from resumable_streams.models import IncidentAction
from resumable_streams.operating.bulk import Interrupted
from resumable_streams.stores.base import BaseStore
from resumable_streams.types import PUBLIC, Owner, Page, StreamInfo, StreamKey

from .acting import ActingVerb

__all__ = ["TailVerb"]

BYTES = 4_096
PAGE_BYTES = 65_536
LOOK_SECONDS = 0.5


class TailVerb(ActingVerb):
    """The verb that reads what belongs to somebody else, and says so before and after."""

    name = "tail"
    help = "Print the last bytes of one stream. THIS READS CONTENT, and is recorded."
    description = (
        "Print the last bytes of one stream, whoever owns it. THIS READS CONTENT that belongs to "
        "the owner: it asks first (--yes), and is recorded with your user id, in the database and "
        "in the log; give a --reason. Characters that a terminal would obey are escaped."
    )
    action = IncidentAction.Action.TAIL
    all_tenants = False

    @classmethod
    def add_arguments(cls, parser: ArgumentParser) -> None:
        parser.add_argument("id", metavar="STREAM", help="the id of the stream")
        super().add_arguments(parser)
        which = parser.add_argument_group("which stream, and how much of it")
        owner_arguments(which)
        which.add_argument(
            "--generation", type=number, metavar="N", help="another one than that in force"
        )
        which.add_argument(
            "--bytes", type=number, default=BYTES, metavar="N", help=f"the last N bytes ({BYTES:,})"
        )
        which.add_argument(
            "--follow", action="store_true", help="go on until the stream ends, or Ctrl-C"
        )

    def __init__(self, options: Mapping[str, Any]):
        super().__init__(options)
        self.stream_id = validate_stream_id(options["id"])
        self.owner: Owner | None = chosen_owner(options)
        self.info: StreamInfo | None = None
        self.content = bytearray()  # for --json, and until it is printed
        self.read = 0
        self.is_stopped = False

    def perform(self, terminal: Terminal) -> None:
        self.terminal = terminal
        super().perform(terminal)

    def question(self) -> str:
        return (
            f"Read the CONTENT of stream {self.stream_id} in {self.where}? It belongs to its "
            f"owner, and reading it is recorded."
        )

    def arguments(self) -> dict[str, Any]:
        given = {
            "id": self.stream_id,
            "owner": None if self.owner is None else owner_digest(self.owner),
            "generation": self.options["generation"],
            "bytes": self.options["bytes"],
            "follow": self.options["follow"],
        }
        return super().arguments() | {name: value for name, value in given.items() if value}

    async def run(self, store: BaseStore) -> None:
        self.terminal.complain(
            f"Reading CONTENT of stream {self.stream_id} in {self.where}. This is recorded."
        )
        page = await self._find(store)
        if page is None:
            self.warnings.append("There is no such stream, or it has another owner.")
            return
        self.info = page.info
        self.progress.add(1, 0)
        if self.dry_run:
            return
        offset = max(0, page.info.size - self.options["bytes"])
        while not self.is_stopped:
            read = await self._print_from(store, offset)
            if read is None:
                return
            offset += read
            if not read:
                await asyncio.sleep(LOOK_SECONDS)
        raise Interrupted

    async def _find(self, store: BaseStore) -> Page | None:
        tenant, generation = self.options["tenant"], self.options["generation"]
        if generation is None:
            generation = (await store.get_control(tenant, PUBLIC)).generation or 1
        self.key = StreamKey(tenant=tenant, generation=generation, stream_id=self.stream_id)
        page = await store.read(self.key, 0, 1)
        is_theirs = page is not None and self.owner in (None, page.info.owner)
        return page if is_theirs else None

    async def _print_from(self, store: BaseStore, offset: int) -> int | None:
        """Print what is stored from `offset` on; return how much, or None if nothing follows."""
        page = await store.read(self.key, offset, PAGE_BYTES)
        if page is None or self.info is None or page.info.epoch != self.info.epoch:
            self.warnings.append("The stream was deleted, or expired, while it was read.")
            return None
        self.info = page.info
        self.read += len(page.data)
        self.progress.add(0, bool(page.data))
        if self.options["json"]:
            self.content += page.data
        elif page.data:
            self.terminal.say(printable(page.data))
        is_all = offset + len(page.data) >= page.info.size
        is_over = not (self.options["follow"] and page.info.is_streaming)
        return None if is_all and is_over else len(page.data)

    def stop(self) -> None:
        self.is_stopped = True

    def counts(self) -> dict[str, Any]:
        return {"bytes": self.read}

    def details(self) -> dict[str, Any]:
        if self.info is None:
            return {}
        return {
            "status": self.info.status.value,
            "size": self.info.size,
            "epoch": self.info.epoch,
            "owner_digest": owner_digest(self.info.owner),
            "content": base64.b64encode(self.content).decode(),
            "text": self.content.decode(errors="replace"),
        }

    def report(self) -> list[str]:
        where = f"stream {self.stream_id} in {self.where}"
        if self.info is None:
            return [f"0 bytes of {where}."]
        owner = owner_digest(self.info.owner)
        return [
            f"{self.read:,} of {self.info.size:,} bytes of {where}.",
            f"It is {self.info.status}, and its owner is {owner}.",
        ]


def printable(data: bytes) -> str:
    """Return bytes as text, with everything escaped that a terminal would obey."""
    text = data.decode(errors="backslashreplace")
    return "".join(
        one if one.isprintable() or one in "\n\t" else one.encode("unicode_escape").decode()
        for one in text
    )

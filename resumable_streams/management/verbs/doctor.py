"""`doctor`: find out what is wrong with the set-up."""

import logging
from argparse import ArgumentParser
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

from django.core.management.base import CommandError

from resumable_streams.conf import get_aliases, get_settings
from resumable_streams.management.console import Terminal
from resumable_streams.operating.connection import close_unused, is_open
from resumable_streams.operating.doctor import examine
from resumable_streams.process.runtime import runtime
from resumable_streams.types import Observation, Verdict

from .verb import Verb, common_arguments

__all__ = ["Doctor"]


class Doctor(Verb):
    """The verb that examines the project and its stores, and changes nothing."""

    name = "doctor"
    help = "Examine settings, stores, database and project: what is wrong, and what to do."
    description = (
        "Examine settings, stores, database and project. Each line is fine, unknown (it may not "
        "be asked), a warning or a fault, and says what to do. It changes nothing, and takes a few "
        "seconds. The exit code is 1 if there is a fault."
    )

    @classmethod
    def add_arguments(cls, parser: ArgumentParser) -> None:
        parser.add_argument("--using", metavar="ALIAS", help="one stream alias (all of them)")
        parser.add_argument("--json", action="store_true", help="print one JSON object")
        common_arguments(parser)

    def __init__(self, options: Mapping[str, Any]):
        super().__init__(options)
        self.aliases: list[str] = get_aliases()
        if (alias := options["using"]) is not None:
            self.aliases = [get_settings(alias).alias]

    def perform(self, terminal: Terminal) -> None:
        with _untold_elsewhere():
            found = runtime.call_sync(_examine, self.aliases)
        counts = Counter(one.verdict for one in found)
        outcome = {
            "action": self.name,
            "aliases": self.aliases,
            "counts": {verdict.value: counts[verdict] for verdict in Verdict},
            "observations": [asdict(one) for one in found],
        }
        lines = [line for one in found for line in _lines(one)]
        faults = _counted(counts[Verdict.FAULT], "fault")
        summary = f"{faults}, {_counted(counts[Verdict.WARNING], 'warning')}."
        terminal.conclude(outcome, [*lines, summary], is_json=self.options["json"])
        if counts[Verdict.FAULT]:
            raise CommandError(f"The doctor found {faults}.", returncode=1)


@contextmanager
def _untold_elsewhere() -> Iterator[None]:
    """Keep the log from telling the same troubles as the doctor does."""

    def refuse(record: logging.LogRecord) -> bool:
        return False

    log = logging.getLogger("resumable_streams.store")
    log.addFilter(refuse)
    try:
        yield
    finally:
        log.removeFilter(refuse)


async def _examine(aliases: Sequence[str]) -> list[Observation]:
    """Examine on the home loop, and close what was not in use in this process before."""
    was_open = {alias: is_open(alias) for alias in aliases}
    try:
        return await examine(aliases)
    finally:
        for alias in aliases:
            await close_unused(alias, was_open=was_open[alias])


def _lines(one: Observation) -> Iterator[str]:
    where = one.alias or "project"
    yield f"{one.verdict:<8} {where:<10} {one.check:<12} {one.message}"
    if one.remedy and one.verdict is not Verdict.FINE:
        yield f"{'':<8} {'':<10} {'':<12} -> {one.remedy}"


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")

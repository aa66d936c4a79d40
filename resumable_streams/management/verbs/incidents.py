"""`incidents clear`: delete old rows of operators' actions."""

from argparse import ArgumentParser
from collections.abc import Mapping
from typing import Any

from resumable_streams.conf import get_settings
from resumable_streams.management.console import Terminal
from resumable_streams.operating.old_rows import old_incidents

from .clearing import clear_rows, clearing_arguments
from .verb import Verb

__all__ = ["Incidents"]


class Incidents(Verb):
    """The verb that deletes old rows of operators' actions. The log names the operator."""

    name = "incidents"
    help = "Delete old rows of operators' actions (clear)."

    @classmethod
    def add_arguments(cls, parser: ArgumentParser) -> None:
        acts = parser.add_subparsers(dest="act", required=True, metavar="clear")
        clearing = acts.add_parser(
            "clear",
            help="delete old rows",
            description="Delete the rows of operators' actions (IncidentAction) that began longer "
            "ago than --older-than. A line in the log 'resumable_streams.incidents' says who "
            "deleted them.",
        )
        clearing_arguments(clearing, older_than="begun longer ago, such as 365d, 52w")

    def __init__(self, options: Mapping[str, Any]):
        super().__init__(options)
        if options["using"] is not None:
            get_settings(options["using"])

    def perform(self, terminal: Terminal) -> None:
        clear_rows(self.options, terminal, old=old_incidents, noun="rows of operators' actions")

"""The base class of all verbs, and the options that every verb has."""

from argparse import SUPPRESS, ArgumentParser, _ActionsContainer
from collections.abc import Mapping
from typing import Any, ClassVar

from resumable_streams.management.console import Terminal

__all__ = ["Verb", "common_arguments", "reason_argument"]


class Verb:
    """One thing an operator does, made from the options of a command line and performed once.

    Constructing it validates the options, before anything is touched: it raises InvalidTenant,
    InvalidOwner, InvalidStoreError and the like.
    """

    name: ClassVar[str]
    help: ClassVar[str]
    """One line, for the list of verbs."""
    description: ClassVar[str] = ""
    """What `--help` of the verb begins with: `help`, and more where there is more to say."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if "help" in vars(cls) and "description" not in vars(cls):
            cls.description = cls.help

    @classmethod
    def add_arguments(cls, parser: ArgumentParser) -> None:
        common_arguments(parser)

    def __init__(self, options: Mapping[str, Any]):
        self.options = options

    def perform(self, terminal: Terminal) -> None:
        """Do it, and print how it went.

        Raises CommandError for what could not be done; a StreamError or InvalidStoreError becomes
        one.
        """
        raise NotImplementedError


def reason_argument(parser: _ActionsContainer) -> None:
    """Add `--reason`, which the IncidentAction and the log keep."""
    parser.add_argument(
        "--reason",
        default="",
        metavar="TEXT",
        help="why, or the number of a ticket; kept with the action and in the log",
    )


def common_arguments(parser: _ActionsContainer) -> None:
    """Add Django's own options, so that they may follow the verb as well as precede it."""
    parser.add_argument(
        "-v",
        "--verbosity",
        type=int,
        choices=(0, 1, 2, 3),
        default=SUPPRESS,
        help="0: print errors and --json only; 1: normal; 2 and 3: print more",
    )
    for name in ("--settings", "--pythonpath"):
        parser.add_argument(name, default=SUPPRESS, help=SUPPRESS)
    for name in ("--traceback", "--no-color", "--force-color"):
        parser.add_argument(name, action="store_true", default=SUPPRESS, help=SUPPRESS)

"""The one command of this package, with a verb for each thing that an operator does.

Exit codes: 0 done, 1 something could not be done, 2 wrong usage, 130 interrupted (143 by SIGTERM).
An interrupted run keeps what it did, and can be repeated for the rest.
"""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from resumable_streams.exceptions import InvalidStoreError, StreamError
from resumable_streams.management.console import Terminal
from resumable_streams.management.keywords import as_arguments, loosen, refuse_strangers
from resumable_streams.management.verbs import VERBS

__all__ = ["Command"]


class Command(BaseCommand):
    _called_from_command_line = False  # Django sets it

    help = "Operate streams: look at them, cut them off, erase them, produce them in workers."

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        parser = super().create_parser(prog_name, subcommand, **kwargs)
        if not self._called_from_command_line:
            loosen(parser)  # `handle` has the keywords
        return parser

    def add_arguments(self, parser: CommandParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True, metavar="verb")
        for name, verb in VERBS.items():
            verb.add_arguments(verbs.add_parser(name, help=verb.help, description=verb.description))

    def handle(self, *args: Any, **options: Any) -> None:
        if not self._called_from_command_line:
            parser = super().create_parser("", "resumable_streams")
            refuse_strangers(parser, options)
            options |= vars(parser.parse_args(as_arguments(parser, options)))
        terminal = Terminal(stdout=self.stdout, stderr=self.stderr, verbosity=options["verbosity"])
        try:
            VERBS[options["verb"]](options).perform(terminal)
        except (StreamError, InvalidStoreError) as refusal:  # of an option, or by the store
            raise CommandError(str(refusal)) from refusal

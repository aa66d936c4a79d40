"""The one command of this package, with a verb for each thing that an operator does.

Exit codes: 0 done (also if nothing was there to be done: warnings and counts say so), 1 something
could not be done, 2 wrong usage, 130 interrupted (143 by SIGTERM). An interrupted run keeps what it
did, and can be repeated for the rest. `--json` prints one object whatever happens.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from resumable_streams.exceptions import InvalidStoreError, StreamError
from resumable_streams.management.arguments import VerbParser
from resumable_streams.management.console import INTERRUPTED, Terminal
from resumable_streams.management.keywords import as_arguments, loosen, refuse_strangers
from resumable_streams.management.verbs import VERBS

__all__ = ["Command"]


class Command(BaseCommand):
    _called_from_command_line = False  # Django sets it
    _terminal: Terminal | None = None

    help = "Operate streams: look at them, cut them off, erase them, produce them in workers."

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        parser = super().create_parser(prog_name, subcommand, **kwargs)
        if not self._called_from_command_line:
            loosen(parser)  # `handle` has the keywords
        return parser

    def add_arguments(self, parser: CommandParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True, parser_class=VerbParser)
        for name, verb in VERBS.items():
            verb.add_arguments(verbs.add_parser(name, help=verb.help, description=verb.description))

    def run_from_argv(self, argv: list[str]) -> None:
        if "--json" in argv:
            self._answer_wrong_usage(argv[2:])
        super().run_from_argv(argv)

    def _answer_wrong_usage(self, arguments: Sequence[str]) -> None:
        """Print JSON for arguments that argparse is about to refuse; usage follows on stderr."""
        parser = super().create_parser("", "")  # one that raises instead of leaving the process
        try:
            parser.parse_args(arguments)
        except CommandError as refusal:
            verb = next((one for one in arguments if one in VERBS), None)
            self.stdout.write(json.dumps(_refused({"verb": verb}, refusal)))

    def execute(self, *args: Any, **options: Any) -> str | None:
        try:
            return super().execute(*args, **options)
        except KeyboardInterrupt:
            interruption = CommandError("Interrupted.", returncode=INTERRUPTED)
            self._answer_refusal(options, interruption)
            raise interruption from None
        except CommandError as refusal:  # system checks included
            self._answer_refusal(options, refusal)
            raise

    def _answer_refusal(self, options: Mapping[str, Any], refusal: CommandError) -> None:
        """Print JSON if it is wanted, and the verb did not come to print any."""
        if options.get("json") and not (self._terminal and self._terminal.has_answered):
            self.stdout.write(json.dumps(_refused(options, refusal)))

    def handle(self, *args: Any, **options: Any) -> None:
        if not self._called_from_command_line:
            parser = super().create_parser("", "resumable_streams")
            refuse_strangers(parser, options)
            options |= vars(parser.parse_args(as_arguments(parser, options)))
        self._terminal = Terminal(
            stdout=self.stdout, stderr=self.stderr, verbosity=options["verbosity"]
        )
        try:
            VERBS[options["verb"]](options).perform(self._terminal)
        except (StreamError, InvalidStoreError) as refusal:  # of an option, or by the store
            raise CommandError(str(refusal)) from refusal


def _refused(options: Mapping[str, Any], refusal: CommandError) -> dict[str, Any]:
    """Return the JSON of a run that came to nothing."""
    return {
        "action": " ".join(filter(None, (options.get("verb"), options.get("act")))),
        "alias": options.get("using"),
        "tenant": options.get("tenant"),
        "arguments": {},
        "counts": {},
        "warnings": [],
        "error": str(refusal),
    }

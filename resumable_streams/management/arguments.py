"""The arguments of an operator's command line: ages, numbers, owners, and their parser."""

import re
from argparse import ArgumentTypeError, Namespace, _ActionsContainer, _SubParsersAction
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from itertools import takewhile
from typing import Any

from django.contrib.sessions.middleware import SessionMiddleware
from django.core.management.base import CommandError, CommandParser
from django.http import HttpResponse

from resumable_streams.identifiers import validate_owner
from resumable_streams.owners import SESSION_KEY, derived_token
from resumable_streams.types import PUBLIC, Owner

__all__ = ["VerbParser", "age", "chosen_owner", "number", "owner_arguments", "pause", "port"]

UNITS = {"": 1, "s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
LONGEST_AGE = 36_500 * UNITS["d"]

MISSING = {
    "--tenant": "name a tenant with --tenant",
    "--tenant --all-tenants": "name a tenant with --tenant, or all of them with --all-tenants",
    "--owner --user": "name a person with --owner or --user",
    "--owner --user --session --public": (
        "name an owner with --owner, --user, --session or --public"
    ),
}
"""What to say when none of these options is given."""


class VerbParser(CommandParser):
    """The parser of one verb. It reports a misspelt option before an option that is missing."""

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: Namespace | None = None
    ) -> tuple[Namespace, list[str]]:
        if not any(isinstance(action, _SubParsersAction) for action in self._actions):
            self._refuse_misspelt(args or ())
        return super().parse_known_args(args, namespace)

    def _refuse_misspelt(self, arguments: Sequence[str]) -> None:
        known = [name for name in self._option_string_actions if name.startswith("--")]
        for argument in takewhile(lambda one: one != "--", arguments):
            name = argument.partition("=")[0]
            is_option = name.startswith("--") and " " not in name  # argparse takes these for values
            if is_option and not any(one.startswith(name) for one in known):
                similar = get_close_matches(name, known, n=1)
                hint = f" (did you mean {similar[0]}?)" if similar else ""
                self.error(f"unrecognized arguments: {name}{hint}")

    def error(self, message: str) -> Any:
        missing = re.fullmatch("one of the arguments (.+) is required", message)
        super().error(MISSING.get(missing[1], message) if missing else message)


def age(text: str) -> int:
    """Parse a whole number with s, m, h, d or w (seconds without) into seconds."""
    match = re.fullmatch(r"([0-9]{1,10})([smhdw]?)", text)
    seconds = int(match[1]) * UNITS[match[2]] if match else LONGEST_AGE + 1
    if seconds > LONGEST_AGE:
        raise ArgumentTypeError(
            f"{text!r} is not an age: a whole number with s, m, h, d or w, such as 30m, 2h, 7d; "
            f"at most 100 years."
        )
    return seconds


def number(text: str) -> int:
    """Parse a whole number from 1."""
    if not re.fullmatch(r"[1-9][0-9]{0,8}", text):
        raise ArgumentTypeError(f"{text!r} is not a whole number from 1.")
    return int(text)


def pause(text: str) -> float:
    """Parse a number of seconds, with or without a point."""
    if not re.fullmatch(r"[0-9]{1,4}(\.[0-9]{1,6})?", text):
        raise ArgumentTypeError(f"{text!r} is not a number of seconds, such as 0.05.")
    return float(text)


def port(text: str) -> int:
    """Parse the number of a TCP port."""
    if not (re.fullmatch(r"[0-9]{1,5}", text) and 0 < int(text) < 65_536):
        raise ArgumentTypeError(f"{text!r} is not a port: a whole number from 1 to 65535.")
    return int(text)


def owner_arguments(parser: _ActionsContainer, *, required: bool = False) -> None:
    """Add the four ways to name an owner."""
    who = parser.add_mutually_exclusive_group(required=required)
    who.add_argument("--owner", metavar="OWNER", help="the owner, as your OWNER callable names it")
    who.add_argument("--user", metavar="PK", help="the user with this primary key")
    who.add_argument("--session", metavar="KEY", help="the visitor with this session key")
    who.add_argument(
        "--public", action="store_true", help="the PUBLIC streams, which have no owner"
    )


def chosen_owner(options: Mapping[str, Any]) -> Owner | None:
    """Return the owner that the options name, or None if they name nobody."""
    if options["public"]:
        return PUBLIC
    if options["session"] is not None:
        return _visitor(options["session"])
    if options["user"] is not None:
        return validate_owner(f"user:{options['user']}")
    return None if options["owner"] is None else validate_owner(options["owner"])


def _visitor(session_key: str) -> str:
    """Return the owner of a session: by the token in its data, if it has one."""
    session = SessionMiddleware(lambda request: HttpResponse()).SessionStore(session_key)
    token = session.get(SESSION_KEY) or derived_token(session)
    if token is None:
        raise CommandError(
            "This session does not exist, or it is kept in a cookie. If the records have its owner "
            "(session:…), name that with --owner."
        )
    return f"session:{token}"

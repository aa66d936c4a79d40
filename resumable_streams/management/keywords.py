"""The keywords of `call_command`, held to the same rules as a command line.

Django parses a command's positional arguments before it adds the keywords, and does not know the
required options of a subparser. So they are not asked for at that point. The keywords are written
as a command line instead, and parsed: required, exclusive and wrong values give the same errors.
"""

from argparse import ArgumentParser, _SubParsersAction
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

from django.core.management.base import CommandError

__all__ = ["as_arguments", "loosen", "refuse_strangers"]


def loosen(parser: ArgumentParser) -> None:
    """Require neither an option nor an argument of a parser or its subparsers."""
    for one in _parsers(parser):
        for action in one._actions:
            if action.option_strings:
                action.required = False
            elif not isinstance(action, _SubParsersAction):
                action.required, action.nargs = False, "?"
        for group in one._mutually_exclusive_groups:
            group.required = False


def as_arguments(parser: ArgumentParser, options: Mapping[str, Any]) -> list[str]:
    """Return the command line that says what `options` say."""
    arguments: list[str] = []
    named: list[str] = []
    for action in parser._actions:
        value = options.get(action.dest)
        if value is None or value is False:
            continue
        if isinstance(action, _SubParsersAction):
            return [*arguments, value, *as_arguments(action.choices[value], options)]
        if not action.option_strings:
            named += ["--", _text(value)]  # it may begin with a dash
            continue
        name = max(action.option_strings, key=len)
        if action.nargs == 0:
            arguments.append(name)
        elif action.nargs == "+":
            arguments += [name, *([value] if isinstance(value, str) else map(_text, value))]
        else:
            arguments.append(f"{name}={_text(value)}")
    return arguments + named


def refuse_strangers(parser: ArgumentParser, options: Mapping[str, Any]) -> None:
    """Raise CommandError for a keyword that only another verb knows."""
    everything = {action.dest for one in _parsers(parser) for action in one._actions}
    mine = {action.dest for one in _chosen(parser, options) for action in one._actions}
    if strangers := sorted((everything - mine).intersection(options)):
        raise CommandError(f"{options['verb']} has no option {', '.join(strangers)}.")


def _text(value: object) -> str:
    if isinstance(value, timedelta):
        value = value.total_seconds()
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else f"{value:f}"
    return str(value)


def _parsers(parser: ArgumentParser) -> Iterator[ArgumentParser]:
    yield parser
    for action in parser._actions:
        if isinstance(action, _SubParsersAction):
            for one in action.choices.values():
                yield from _parsers(one)


def _chosen(parser: ArgumentParser, options: Mapping[str, Any]) -> Iterator[ArgumentParser]:
    yield parser
    for action in parser._actions:
        if isinstance(action, _SubParsersAction):
            yield from _chosen(action.choices[options[action.dest]], options)

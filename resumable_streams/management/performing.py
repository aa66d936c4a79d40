"""The run of a verb that acts on streams: ask, write it down, act, report.

The act itself runs on the home loop. After any failure, the counts so far are written down and
printed.
"""

import time
from typing import TYPE_CHECKING

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import CommandError
from django.db import Error as DatabaseTrouble

from resumable_streams.control import Unconfirmed, Unsaved
from resumable_streams.engine import get_engine
from resumable_streams.exceptions import InvalidStoreError, StoreUnavailable, StreamError
from resumable_streams.operating.bulk import Interrupted
from resumable_streams.operating.connection import close_unused, is_open, is_reachable, open_store
from resumable_streams.operating.incidents import incident, operator_of_process
from resumable_streams.process.runtime import runtime

from .console import Terminal, confirm, interruptions, progress_bar
from .doubts import doubts_about_tenant, doubts_about_user

if TYPE_CHECKING:
    from .verbs.acting import ActingVerb

__all__ = ["out_of_reach", "perform"]


def perform(verb: "ActingVerb", terminal: Terminal) -> None:
    """Perform a verb; raise CommandError with the exit code for what could not be done."""
    if verb.asks and not (verb.dry_run or verb.options["yes"]):
        confirm(verb.question())
    started = time.monotonic()
    error, code = _attempt(verb, terminal)
    _print(verb, terminal, error)
    if error:
        raise CommandError(error, returncode=code)
    if not verb.options["json"]:
        seconds = time.monotonic() - started
        terminal.say(f"{verb.progress.met:,} streams met, {seconds:.1f} seconds.", verbosity=2)


def _attempt(verb: "ActingVerb", terminal: Terminal) -> tuple[str, int]:
    """Do it; return the error message, empty if there is none, and its exit code."""
    with interruptions(verb.stop) as heard:
        try:
            _act(verb, terminal)
        except KeyboardInterrupt:
            signum = heard[0] if heard else 2
            return "Interrupted. The streams counted here are done.", 128 + signum
        except (Unconfirmed, Unsaved) as error:
            verb.may_have_acted = True
            return str(error), 1
        except StoreUnavailable as error:
            verb.may_have_acted = not error.reason
            return _unavailable(error), 1
        except (CommandError, InvalidStoreError, StreamError, ValueError) as error:
            return str(error), 1
        except (DatabaseTrouble, ImproperlyConfigured, LookupError) as error:
            return _rejected(verb, error), 1
    return "", 0


def _act(verb: "ActingVerb", terminal: Terminal) -> None:
    with (
        incident(
            verb.action,
            alias=verb.alias,
            tenant=verb.tenant or "",
            by=operator_of_process(),
            reason=verb.options["reason"],
            arguments=verb.arguments(),
            dry_run=verb.dry_run,
        ) as act,
        progress_bar(verb.progress, is_wanted=terminal.verbosity > 0),
    ):
        if act.pk is None:
            terminal.complain("This action could not be written down in the database.")
        try:
            runtime.call_sync(_run, verb)
            verb.follow_up()
        except Interrupted:  # on a loop, KeyboardInterrupt itself would stop the loop
            raise KeyboardInterrupt from None
        finally:
            act.counts = verb.counts()
        if owner := verb.options.get("user"):
            verb.warnings += doubts_about_user(owner, verb.alias)


def _print(verb: "ActingVerb", terminal: Terminal, error: str) -> None:
    if verb.options["json"]:
        outcome = {
            "action": verb.name,
            "alias": verb.alias,
            "tenant": verb.tenant,
            "dry_run": verb.dry_run,
            "reason": verb.options["reason"],
            "arguments": verb.arguments(),
            "counts": verb.counts(),
            **verb.details(),
            "unreadable": verb.unreadable,
            "warnings": verb.warnings,
            "error": error or None,
        }
        terminal.answer(outcome)
        return
    if not (verb.asks or verb.progress.met or not error):
        return
    lines = verb.report() + verb.notes(all_names=terminal.verbosity > 1)
    if verb.dry_run:
        lines.append("Dry run: nothing was changed.")
    if error:
        terminal.complain(*lines)
    else:
        terminal.say(*lines)
    if verb.warnings:
        terminal.complain(*(f"Warning: {warning}" for warning in verb.warnings))


async def _run(verb: "ActingVerb") -> None:
    """Run on the home loop, and close what was not in use in this process before."""
    was_open = is_open(verb.alias)
    if not is_reachable(verb.alias):
        raise CommandError(out_of_reach(verb.alias))
    try:
        if verb.needs_engine:
            get_engine(verb.alias)
        async with open_store(verb.alias) as store:
            doubts = await doubts_about_tenant(store, verb.alias, verb.tenant)
            await verb.run(store)
        if not verb.hits:
            verb.warnings += doubts
    finally:
        await close_unused(verb.alias, was_open=was_open)


def out_of_reach(alias: str) -> str:
    return (
        f"The store of {alias!r} lives in the process that serves it: another process cannot see, "
        f"cut off or erase its streams. Restart that process."
    )


def _unavailable(error: StoreUnavailable) -> str:
    rest = "the others are not" if error.reason else "some of the others may be"
    return f"{error} The streams counted here are done, {rest}."


def _rejected(verb: "ActingVerb", error: Exception) -> str:
    return (
        f"{verb.name} needs the database, which rejected the change. Neither the database nor the "
        f"store was changed. ({type(error).__name__}: {error})"
    )

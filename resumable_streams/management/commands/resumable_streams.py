"""What operators do to streams: see, cut off, erase.

Every run is written down (`incidents`). Exit codes: 0 done, 1 something could not be done, 2 wrong
usage, 130 interrupted: what was done until then stays done, and the command can be repeated.
"""

import json
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import Error as DatabaseTrouble

from resumable_streams.conf import get_settings
from resumable_streams.control import Unconfirmed, Unsaved
from resumable_streams.engine import Engine, get_engine
from resumable_streams.exceptions import InvalidStoreError, StoreUnavailable, StreamError
from resumable_streams.management import worker
from resumable_streams.management.console import confirm, interruptions, progress
from resumable_streams.management.verbs import VERBS, Verb
from resumable_streams.operating.bulk import Interrupted
from resumable_streams.operating.incidents import incident, operating_user
from resumable_streams.process.runtime import runtime

__all__ = ["Command"]


class Command(BaseCommand):
    help = "See, cut off and erase streams, per tenant or per owner."

    def add_arguments(self, parser: CommandParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True, metavar="verb")
        for name, verb in VERBS.items():
            verb.add_arguments(verbs.add_parser(name, help=verb.help, description=verb.help))
        worker.add_arguments(verbs.add_parser("worker", help=worker.HELP, description=worker.HELP))

    def handle(self, *args: Any, **options: Any) -> None:
        if options["verb"] == "worker":
            worker.work(options, self.stdout.write)
            return
        try:
            get_settings(options["using"])
            verb = VERBS[options["verb"]](options)
        except (StreamError, InvalidStoreError) as refusal:  # an alias, tenant, owner or id
            raise CommandError(str(refusal)) from refusal
        if verb.asks and not (verb.dry_run or options["yes"]):
            confirm(verb.question())
        error, code = self._work(verb)
        self._print(verb, error, is_json=options["json"])
        if error:
            raise CommandError(error, returncode=code)

    def _work(self, verb: Verb) -> tuple[str, int]:
        """Do it; return what went wrong, and the exit code of that."""
        with interruptions(lambda: _stop(verb)) as heard:
            try:
                self._do(verb)
            except KeyboardInterrupt:
                signum = heard[0] if heard else 2
                return "Interrupted: what is counted here stays done.", 128 + signum
            except (Unconfirmed, Unsaved) as error:
                verb.may_have_acted = True
                return str(error), 1
            except StoreUnavailable as error:
                verb.may_have_acted = not error.reason
                return _unavailable(error), 1
            except (CommandError, ValueError) as error:
                return str(error), 1
            except StreamError as error:
                return str(error), 1
            except (DatabaseTrouble, ImproperlyConfigured, LookupError) as error:
                return f"{_refusal(verb)} ({type(error).__name__}: {error})", 1
        return "", 0

    def _do(self, verb: Verb) -> None:
        with (
            incident(
                verb.action,
                alias=verb.alias,
                tenant=verb.tenant or "",
                who=operating_user(),
                arguments=verb.arguments(),
            ) as act,
            progress(verb.tally),
        ):
            if act.pk is None:
                self.stderr.write("This action could not be written down in the database.")
            try:
                runtime.call_sync(_run, verb)
            except Interrupted:  # which a coroutine must not tell as Python does
                raise KeyboardInterrupt from None
            finally:
                act.counts = verb.counts()

    def _print(self, verb: Verb, error: str, *, is_json: bool) -> None:
        if not is_json:
            if verb.asks or verb.tally.met or not error:
                (self.stderr if error else self.stdout).write(
                    "\n".join(verb.report() + verb.notes())
                )
            return
        outcome = {
            "action": verb.name,
            "alias": verb.alias,
            "tenant": verb.tenant,
            "arguments": verb.arguments(),
            "counts": verb.counts(),
            "unreadable": verb.unreadable,
            "error": error or None,
        }
        self.stdout.write(json.dumps(outcome))


async def _run(verb: Verb) -> None:
    """Run on the home loop, and close what was not in use in this process before."""
    is_ours = verb.alias not in runtime.resources
    engine = get_engine(verb.alias)
    try:
        if is_ours and not engine.store.outlives_process:
            raise CommandError(
                f"The store of {verb.alias!r} lives in the process that serves it: another process "
                f"cannot see, cut off or erase its streams. Restart that process."
            )
        await verb.run(engine)
    finally:
        if is_ours:
            await _close(verb.alias, engine)


async def _close(alias: str, engine: Engine) -> None:
    """Close our engine; and the home loop, unless this process uses it otherwise."""
    del runtime.resources[alias]
    await engine.aclose()
    if not runtime.resources:
        await runtime.aclose()


def _stop(verb: Verb) -> None:
    if verb.sweep is not None:
        verb.sweep.engine.loop.call_soon_threadsafe(verb.sweep.stop)


def _unavailable(error: StoreUnavailable) -> str:
    cause = error.__cause__
    why = f" ({type(cause).__name__})" if cause and not error.reason else ""
    rest = "the rest was not" if error.reason else "of the rest, some may have been done"
    return f"{str(error).rstrip('.')}{why}; what is counted here was done, {rest}."


def _refusal(verb: Verb) -> str:
    return (
        f"The database is needed to {verb.name} and did not take it. Neither the database nor the "
        f"store was changed."
    )

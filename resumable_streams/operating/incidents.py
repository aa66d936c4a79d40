"""The written record of operators' actions: an IncidentAction around every act, and a log line.

The log has it as well because the database may be down, which never keeps an operator from acting.
"""

import getpass
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError, router
from django.utils import timezone

from ..models import IncidentAction

__all__ = ["incident", "operating_user"]

logger = logging.getLogger("resumable_streams.incidents")

MAX_ERROR = 1_000


@contextmanager
def incident(
    action: IncidentAction.Action,
    *,
    alias: str,
    tenant: str = "",
    who: str,
    arguments: Mapping[str, Any] | None = None,
) -> Iterator[IncidentAction]:
    """Write down an act, before it and after it; the body may set `counts` of the row it gets.

    `tenant=""` is every tenant. Put no owner, secret or payload into `arguments`: name an owner by
    its digest. An error of the body is written down and raised.
    """
    act = IncidentAction(
        action=action, alias=alias, tenant=tenant, who=who[:255], arguments=dict(arguments or {})
    )
    _save(act)
    try:
        yield act
    except BaseException as error:
        act.error = f"{type(error).__name__}: {error}"[:MAX_ERROR]
        if isinstance(error, Exception):
            act.outcome = IncidentAction.Outcome.FAILED
        raise
    else:
        act.outcome = IncidentAction.Outcome.DONE
    finally:
        act.finished = timezone.now()
        _save(act)
        _log(act)


def operating_user() -> str:
    """Return the user who runs this process, for `who` of a command."""
    try:
        return f"os:{getpass.getuser()}"
    except (KeyError, OSError):  # a container may have a user id without a name
        return "os:unknown"


def _save(act: IncidentAction) -> None:
    try:
        act.save(using=router.db_for_write(IncidentAction))
    except ImproperlyConfigured:
        pass  # a project without a database has the log
    except DatabaseError:
        logger.exception("An operator's action could not be written to the database.")


def _log(act: IncidentAction) -> None:
    logger.info(
        "%s of %s/%s by %s: %s",
        act.action,
        act.alias,
        act.tenant or "*",
        act.who,
        act.outcome,
        extra={"arguments": act.arguments, "counts": act.counts, "error": act.error},
    )

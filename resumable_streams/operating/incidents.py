"""The written record of operators' actions: an IncidentAction around every act, and a log line.

The log has it as well because the database may be down, which never keeps an operator from acting.
"""

import logging
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError, router
from django.utils import timezone

from ..models import IncidentAction
from .pairs import Pairs

__all__ = ["Operator", "incident", "operator_of_process"]

logger = logging.getLogger("resumable_streams.incidents")

MAX_ERROR = 1_000
MAX_NAME = 255

Outcome = IncidentAction.Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Operator:
    """The person behind an act: a user of the operating system, or of the admin.

    `host` is where the code ran. `sudo_user` is a claim of the environment, which the user of a
    process can set.
    """

    who: str
    uid: int | None = None
    sudo_user: str = ""
    host: str = field(default_factory=socket.gethostname)

    def as_fields(self) -> dict[str, Any]:
        return {
            "who": self.who[:MAX_NAME],
            "uid": self.uid,
            "sudo_user": self.sudo_user[:MAX_NAME],
            "host": self.host[:MAX_NAME],
        }


def operator_of_process() -> Operator:
    """Return the user who runs this process, by its user id: LOGNAME and USER can be set."""
    if not hasattr(os, "getuid"):
        return Operator(who="os:unknown")
    uid = os.getuid()
    return Operator(who=f"os:{_name_of(uid)}", uid=uid, sudo_user=os.environ.get("SUDO_USER", ""))


def _name_of(uid: int) -> str:
    import pwd  # POSIX only

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:  # a container may have a user id without a name
        return str(uid)


@contextmanager
def incident(
    action: IncidentAction.Action,
    *,
    alias: str,
    tenant: str = "",
    by: Operator,
    reason: str = "",
    arguments: Mapping[str, Any] | None = None,
    dry_run: bool = False,
) -> Iterator[IncidentAction]:
    """Write down an act, before it and after it; the body may set `counts` of the row it gets.

    `alias=""` is every alias, `tenant=""` every tenant. Put no owner, secret or payload into
    `arguments`: name an owner by its digest. An error of the body is written down and raised.
    """
    act = IncidentAction(
        action=action,
        alias=alias,
        tenant=tenant,
        reason=reason,
        arguments=dict(arguments or {}),
        **by.as_fields(),
    )
    _save(act)
    try:
        yield act
    except BaseException as error:
        act.error = f"{type(error).__name__}: {error}"[:MAX_ERROR]
        if isinstance(error, Exception):
            act.outcome = Outcome.FAILED
        raise
    else:
        act.outcome = Outcome.DRY_RUN if dry_run else Outcome.DONE
    finally:
        act.finished = timezone.now()
        _save(act)
        _log(act)


def _save(act: IncidentAction) -> None:
    try:
        act.save(using=router.db_for_write(IncidentAction))
    except ImproperlyConfigured:
        pass  # a project without a database has the log
    except DatabaseError:
        logger.exception("An operator's action could not be written to the database.")


LOGGED = (
    *("action", "outcome", "alias", "tenant", "who", "uid", "sudo_user", "host"),
    *("reason", "arguments", "counts", "error"),
)


def _log(act: IncidentAction) -> None:
    fields = {name: getattr(act, name) for name in LOGGED}
    fields |= {"action": str(act.action), "outcome": str(act.outcome)}
    logger.info("incident.%s %s", act.action, Pairs(fields, but=["action"]), extra=fields)

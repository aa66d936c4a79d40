"""Log-out everywhere: the revocations that follow a logout, or a change of a user.

Off unless REVOKE_ON of an alias says so. Then every stream that the user has acquired so far is
revoked, wherever it is read or produced: attached readers, signed links and producers end, too. At
a log-out that includes the streams of the session, from before the login. The streams of an OWNER
callable of your own are those that it names for the request.

A change of password is one that Django calls so: `set_password`, then `save`. Each `save` with
`is_active` False is a deactivation. A deletion is `delete`, of a user or a queryset. `update` and
SQL send no signal. All of it is acted upon when it is committed. No request comes with it, so it is
offered without OWNER and TENANT only (E010); with them, revoke by yourself:
`await runtime.call(revoke, alias, tenant, owner)`.

A store that is away does not keep anybody from logging out: it is logged as an error.
"""

import logging
from collections.abc import Callable, Collection, Iterable
from functools import partial
from typing import Any

from django.contrib.auth.signals import user_logged_out
from django.core.signals import setting_changed
from django.db import transaction
from django.db.models.signals import post_delete, post_save
from django.http import HttpRequest

from ..conf import SETTING, get_aliases, get_settings, user_model
from ..control import revoke
from ..exceptions import InvalidStoreError
from ..identifiers import DEFAULT_TENANT
from ..owners import SESSION_KEY, get_identity, owner_of_user, owners_of
from ..process.runtime import runtime
from ..types import PUBLIC, Owner

__all__ = ["configure"]

logger = logging.getLogger("resumable_streams.revocations")

UID = "resumable_streams.revocations"

# A project without users has no model to disconnect from: only what was connected is disconnected.
_listening: set[str] = set()


def configure() -> None:
    """Listen for what a REVOKE_ON names, and for nothing else; called when Django is ready."""
    try:
        wanted = {event for alias in get_aliases() for event in get_settings(alias).revoke_on}
    except InvalidStoreError:  # the system checks tell
        wanted = set()
    for event, (signal, receiver, sender) in _sources().items():
        if event in wanted:
            signal.connect(receiver, sender=sender, dispatch_uid=f"{UID}.{event}")
            _listening.add(event)
        elif event in _listening:
            signal.disconnect(receiver, sender=sender, dispatch_uid=f"{UID}.{event}")
            _listening.discard(event)


def _sources() -> dict[str, tuple[Any, Callable[..., Any], Any]]:
    """Return by which signal, of which sender, each event of REVOKE_ON is heard."""
    return {
        "logout": (user_logged_out, _logged_out, None),
        "password_change": (post_save, _password_saved, user_model()),
        "deactivate": (post_save, _inactive_saved, user_model()),
        "delete": (post_delete, _deleted, user_model()),
    }


def _reconfigure(*, setting: str, **kwargs: object) -> None:
    if setting == SETTING:
        configure()


setting_changed.connect(_reconfigure)  # after the receiver of `conf`, which forgets the old value


def _aliases(event: str) -> list[str]:
    return [alias for alias in get_aliases() if event in get_settings(alias).revoke_on]


async def _logged_out(*, request: HttpRequest, user: Any, **named: Any) -> None:
    # Async, so that `alogout` awaits it; `logout` has asgiref run it.
    for alias in _aliases("logout"):
        try:
            tenant, owners = await _leaving(request, user, alias)
            await runtime.call(_revoke, alias, tenant, owners)
        except Exception:
            logger.exception("The streams of a user who logged out could not be revoked.")


async def _leaving(request: HttpRequest, user: Any, alias: str) -> tuple[str, set[Owner]]:
    """Return whose streams end with a log-out; the session still has its data."""
    session = getattr(request, "session", None)
    if user is None and (session is None or await session.aget(SESSION_KEY) is None):
        return DEFAULT_TENANT, set()
    identity = await get_identity(request, using=alias)
    owners = {*identity.owners, *await owners_of(user, session)}
    return identity.tenant or DEFAULT_TENANT, owners - {PUBLIC}


def _password_saved(*, instance: Any, created: bool, using: str, **named: Any) -> None:
    # Until the save is over, Django keeps in `_password` what `set_password` has set.
    if not created and getattr(instance, "_password", None) is not None:
        _revoke_at_commit("password_change", instance, using)


def _inactive_saved(
    *,
    instance: Any,
    created: bool,
    using: str,
    update_fields: Collection[str] | None = None,
    **named: Any,
) -> None:
    # At each save: what the row was before would cost everybody's save a query.
    is_saved = update_fields is None or "is_active" in update_fields
    if not created and is_saved and not getattr(instance, "is_active", True):
        _revoke_at_commit("deactivate", instance, using)


def _deleted(*, instance: Any, using: str, **named: Any) -> None:
    _revoke_at_commit("delete", instance, using)


def _revoke_at_commit(event: str, user: Any, using: str) -> None:
    owner = owner_of_user(user)  # now: a deleted user is about to lose its primary key
    for alias in _aliases(event):
        transaction.on_commit(partial(_user_changed, alias, owner, event), using=using)


def _user_changed(alias: str, owner: Owner, event: str) -> None:
    try:
        runtime.call_sync(_revoke, alias, DEFAULT_TENANT, [owner])
    except Exception:
        logger.exception("The streams of a user could not be revoked after this: %s.", event)


async def _revoke(alias: str, tenant: str, owners: Iterable[Owner]) -> None:
    for owner in owners:
        await revoke(alias, tenant, owner)

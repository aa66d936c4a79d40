"""A visitor who logs in: the conversations move to the account at once.

The next look at the chat would move them, too (see `places`), but only while the session lasts.
"""

import logging
from copy import copy
from typing import Any

from asgiref.sync import async_to_sync
from django.contrib.auth.signals import user_logged_in
from django.http import HttpRequest

from ...conf import get_aliases
from ...owners import SESSION_KEY, get_identity
from .places import Place

__all__ = ["connect"]

logger = logging.getLogger("resumable_streams.chat")


def connect() -> None:
    """Move conversations at each login."""
    user_logged_in.connect(_logged_in, dispatch_uid="resumable_streams.contrib.chat")


def _logged_in(*, request: HttpRequest | None, user: Any, **named: Any) -> None:
    if request is None or SESSION_KEY not in (getattr(request, "session", None) or {}):
        return
    request = copy(request)  # which may have no user yet
    request.user = user
    for alias in get_aliases():
        try:
            identity = async_to_sync(get_identity)(request, using=alias)
            if identity.owners:
                Place.of(identity, alias, chat=None).move_in()
        except Exception:  # nobody's login fails for it
            logger.exception("The conversations of a visitor could not be moved to the account.")

"""The doubts about a command line: names of tenants and users that nothing is known of.

A doubt is a warning, never a refusal: a deleted user has streams, and a new tenant has none.
"""

from difflib import get_close_matches

from django.apps import apps
from django.core.exceptions import ImproperlyConfigured, ValidationError
from django.db import Error as DatabaseTrouble

from resumable_streams.conf import USER_OWNERS, get_settings, user_model
from resumable_streams.control.saved import saved_generations
from resumable_streams.stores.base import BaseStore
from resumable_streams.types import PUBLIC

__all__ = ["doubts_about_tenant", "doubts_about_user"]


async def doubts_about_tenant(store: BaseStore, alias: str, tenant: str | None) -> list[str]:
    """Say that neither store nor database know the tenant, if that is so; None is every tenant."""
    if tenant is None or (await store.get_control(tenant, PUBLIC)).generation is not None:
        return []
    try:
        saved = await saved_generations(alias)
    except DatabaseTrouble:
        return []
    if tenant in saved:
        return []
    similar = get_close_matches(tenant, saved, n=1)
    hint = f" Did you mean {similar[0]}?" if similar else ""
    doubt = (
        f"Tenant {tenant} (alias {alias}) is not known: it has no generation in the store and no "
        f"row in the database. Check the name.{hint}"
    )
    return [doubt]


def doubts_about_user(pk: str, alias: str) -> list[str]:
    """Say that no user has this primary key, or that the alias names its owners by itself."""
    doubts = []
    if not _user_exists(pk):
        doubts.append(f"No user has the primary key {pk!r}: check it, unless the user was deleted.")
    if get_settings(alias).owner not in USER_OWNERS:
        doubts.append(
            f"Alias {alias} has an OWNER of its own, and --user means the owner 'user:{pk}'. If "
            f"your OWNER names users in another way, give its name with --owner."
        )
    return doubts


def _user_exists(pk: str) -> bool:
    """Return False only if the database says so."""
    try:
        manager = apps.get_model(user_model())._base_manager
        return bool(manager.filter(pk=pk).exists())
    except (ValueError, ValidationError):
        return False
    except (DatabaseTrouble, ImproperlyConfigured, LookupError):
        return True

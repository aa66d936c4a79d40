"""What of Django's signals is listened to: what a setting asks for, and nothing else."""

import pytest
from django.contrib.auth.models import User
from django.contrib.auth.signals import user_logged_out
from django.db.models.signals import ModelSignal, post_delete, post_save
from pytest_django import Settings

from resumable_streams.conf import REVOKE_EVENTS
from resumable_streams.operating.revoke_on import UID


def heard() -> set[str]:
    """Return the events of REVOKE_ON that anybody listens to."""
    signals = {
        "logout": user_logged_out.has_listeners(User),
        "password_change": _listens(post_save, "password_change"),
        "deactivate": _listens(post_save, "deactivate"),
        "delete": _listens(post_delete, "delete"),
    }
    return {event for event, has_listeners in signals.items() if has_listeners}


def _listens(signal: ModelSignal, event: str) -> bool:
    return (f"{UID}.{event}", id(User)) in [receiver[0] for receiver in signal.receivers]


def test_a_project_without_the_setting_has_no_receivers():
    assert heard() == set()


@pytest.mark.parametrize("events", [*([event] for event in REVOKE_EVENTS), list(REVOKE_EVENTS)])
def test_what_a_setting_asks_for_is_listened_to_while_it_is_in_force(
    settings: Settings, events: list[str]
):
    settings.RESUMABLE_STREAMS = {"default": {}, "other": {"REVOKE_ON": events}}
    assert heard() == set(events)
    settings.RESUMABLE_STREAMS = {"default": {"REVOKE_ON": ["no such event"]}}
    assert heard() == set()

"""What of Django's signals is listened to: what a setting asks for, and nothing else."""

import pytest
from django.contrib.auth.models import User
from django.contrib.auth.signals import user_logged_out
from django.db.models.signals import post_save
from pytest_django import Settings


def heard() -> set[str]:
    """Return the events of REVOKE_ON that anybody listens to."""
    signals = {
        "logout": user_logged_out.has_listeners(User),
        "password_change": post_save.has_listeners(User),
    }
    return {event for event, has_listeners in signals.items() if has_listeners}


def test_a_project_without_the_setting_has_no_receivers():
    assert heard() == set()


@pytest.mark.parametrize("events", [["logout"], ["password_change"], ["logout", "password_change"]])
def test_what_a_setting_asks_for_is_listened_to_while_it_is_in_force(
    settings: Settings, events: list[str]
):
    settings.RESUMABLE_STREAMS = {"default": {}, "other": {"REVOKE_ON": events}}
    assert heard() == set(events)
    settings.RESUMABLE_STREAMS = {"default": {"REVOKE_ON": ["no such event"]}}
    assert heard() == set()

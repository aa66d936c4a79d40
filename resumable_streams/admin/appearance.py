"""The look of states, names, sizes and times, the same on every page."""

from datetime import datetime, timedelta
from typing import Any

from django.forms import Media
from django.template.defaultfilters import filesizeformat
from django.urls import reverse
from django.utils.formats import date_format
from django.utils.html import format_html
from django.utils.http import urlencode
from django.utils.safestring import SafeString
from django.utils.timezone import is_aware, localtime
from django.utils.translation import gettext as _t

from ..models import StreamRecord

__all__ = [
    "LOOK",
    "SHORT_DIGEST",
    "STYLES",
    "badge",
    "lasting",
    "owner_link",
    "records_of",
    "shortened",
    "size_of",
    "time_of",
]

STYLES = "resumable_streams/admin.css"
LOOK = Media(css={"all": [STYLES]})

SHORT = 11  # characters of an id
SHORT_DIGEST = 8

Status = StreamRecord.Status

SIGNS = {
    Status.STREAMING: "▶",
    Status.DONE: "✓",
    Status.ERROR: "✕",
    Status.CANCELLED: "■",
    Status.REVOKED: "!",
    Status.ROTATED: "!",
    Status.DELETED: "∅",
    Status.LOST: "?",
}
"""A sign for each state: nobody has to tell them apart by their colour."""

WORDS = {
    Status.REVOKED: "revoked",
    Status.ROTATED: "rotated",
    Status.DELETED: "gone",
    Status.LOST: "lost",
}


def badge(status: str, label: str = "", *, word: str = "") -> SafeString:
    """Return a status with its sign and colour; the whole label is its tooltip."""
    known = Status(status) if status in SIGNS else None
    return format_html(
        '<span class="rs-state rs-{}" title="{}"><span aria-hidden="true">{}</span> {}</span>',
        known or "unknown",
        label or status,
        SIGNS[known] if known else "○",
        word or (WORDS.get(known, status) if known else status),
    )


def shortened(text: str, *, most: int = SHORT) -> SafeString:
    """Return the beginning of an id, with all of it as a tooltip."""
    shown = text if len(text) <= most else f"{text[: most - 1]}…"
    return format_html('<span class="rs-id" title="{}">{}</span>', text, shown)


def records_of(digest: str) -> str:
    """Return the address of the list of an owner's records."""
    where = reverse("admin:resumable_streams_streamrecord_changelist")
    return f"{where}?{urlencode({'owner_digest': digest})}"


def owner_link(digest: str, *, is_public: bool = False) -> SafeString | str:
    """Return the digest of an owner, shortened, as a link to the records of that owner."""
    if not digest:
        return _t("(forgotten)")
    shown: Any = _t("(public)") if is_public else shortened(digest, most=SHORT_DIGEST)
    return format_html('<a href="{}">{}</a>', records_of(digest), shown)


def time_of(moment: datetime) -> str:
    """Return a time in the current time zone, to the second."""
    return date_format(localtime(moment) if is_aware(moment) else moment, "Y-m-d H:i:s")


def size_of(count: float | None) -> str:
    """Return a number of bytes for people to read."""
    return "-" if count is None else filesizeformat(count).replace("\xa0", " ")


def lasting(seconds: float | None) -> str:
    """Return a duration for people to read: its first two units."""
    if seconds is None:
        return "-"
    if seconds < 60:
        return f"{seconds:.1f} s"
    whole = timedelta(seconds=round(seconds))
    hours, rest = divmod(whole.seconds, 3600)
    if whole.days:
        return f"{whole.days} d {hours} h"
    return f"{hours} h {rest // 60} min" if hours else f"{rest // 60} min {rest % 60} s"

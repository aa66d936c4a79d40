"""The acts that more than one page offers, each as a plan with its title and its warning."""

from collections.abc import Sequence

from django import forms
from django.http import HttpRequest
from django.utils.translation import gettext as _t
from django.utils.translation import gettext_lazy as _

from ..operating.incarnation import cancel_incarnation
from ..process.runtime import runtime
from ..types import StreamInfo, StreamStatus
from .acting import Action, Plan, ReasonForm, Target

__all__ = ["cancel_one", "cancelling", "revoking", "rotating"]


class RotateForm(ReasonForm):
    purge_old = forms.BooleanField(
        label=_("Also delete the streams of the older generations now"), required=False
    )


def cancel_one(request: HttpRequest, alias: str, info: StreamInfo | None) -> dict[str, int]:
    """Cancel the incarnation that was looked at; return what to count."""
    ended = info and runtime.call_sync(cancel_incarnation, alias, info, request=request)
    if info is None or ended is None:
        return {"cancelled": 0, "gone": 1}
    if info.is_streaming and ended.status is StreamStatus.CANCELLED:
        return {"cancelled": 1}
    return {"cancelled": 0, "ended": 1}


def cancelling(targets: Sequence[Target]) -> Plan:
    return Plan(
        action=Action.CANCEL,
        title=_t("Cancel streams"),
        warning=_t("Those of these streams that run end now. Their stored bytes stay readable."),
        targets=targets,
    )


def revoking(targets: Sequence[Target]) -> Plan:
    return Plan(
        action=Action.REVOKE,
        title=_t("Revoke owners"),
        warning=_t(
            "All streams that these owners have started so far become unreachable, not only the "
            "selected ones: running ones stop, attached readers end. New streams work."
        ),
        targets=targets,
    )


def rotating(targets: Sequence[Target]) -> Plan:
    return Plan(
        action=Action.ROTATE,
        title=_t("Rotate"),
        warning=_t(
            "Every stream of these tenants becomes unreachable for everybody, at once and for "
            "good: running ones stop, attached readers end. New streams work."
        ),
        targets=targets,
        form=RotateForm,
    )

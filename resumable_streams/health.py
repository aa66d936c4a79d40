"""The views of the health of this process, for load balancers and orchestrators.

They tell a stranger nothing but a status: neither causes nor names. They ask for no user, session
or database, so they may be asked every second.
"""

from collections.abc import Callable, Sequence
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase

from .conf import get_aliases
from .http.dispatch import AsyncView
from .operating.readiness import why_unready

__all__ = ["LivenessView", "ReadinessView"]


class LivenessView(AsyncView):
    """A view that answers 200 as long as this process answers at all, also in a drain."""

    http_method_names = ["get", "head"]
    needs_user = False

    @classmethod
    def as_view(cls, **initkwargs: Any) -> Callable[..., Any]:
        view = super().as_view(**initkwargs)
        view.login_required = False  # type: ignore[attr-defined] # for LoginRequiredMiddleware
        return view

    async def get(self, request: HttpRequest) -> HttpResponseBase:
        return _answer(is_well=True)


class ReadinessView(LivenessView):
    """A view that answers 200 if this process should get requests, else 503.

    It does not drain, and the stores of `aliases` (all of them by default) answer.
    """

    aliases: Sequence[str] | None = None

    async def get(self, request: HttpRequest) -> HttpResponseBase:
        aliases = get_aliases() if self.aliases is None else self.aliases
        return _answer(is_well=not await why_unready(aliases))


def _answer(*, is_well: bool) -> HttpResponse:
    return HttpResponse(
        b"ok\n" if is_well else b"unavailable\n",
        status=200 if is_well else 503,
        content_type="text/plain",
        headers={"Cache-Control": "no-store"},
    )

"""The site that is set up in many ways: one source, reached through what projects put around it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from functools import wraps
from hashlib import sha256
from typing import Any

from asgiref.sync import async_to_sync, sync_to_async
from django.contrib.auth import alogin
from django.contrib.auth.decorators import (
    login_not_required,
    login_required,
    permission_required,
    user_passes_test,
)
from django.contrib.auth.mixins import (
    LoginRequiredMixin,
    PermissionRequiredMixin,
    UserPassesTestMixin,
)
from django.contrib.auth.models import Permission, User
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.middleware.csrf import get_token
from django.urls import URLPattern, URLResolver, include, path
from django.utils.decorators import method_decorator
from django.views.decorators.cache import cache_control, never_cache
from django.views.decorators.csrf import csrf_protect
from django.views.decorators.gzip import gzip_page
from django.views.decorators.http import require_POST
from django.views.decorators.vary import vary_on_headers
from django.views.generic import View

from resumable_streams.views import AcquireView, stream_response

released: set[str] = set()
"""The turns that may go on after their first line."""


async def tell(request: Any) -> AsyncIterator[str]:
    """Yield who asked what; and the rest when its turn is released."""
    upload = request.FILES["file"]
    digest = sha256(await sync_to_async(upload.read)()).hexdigest()
    yield f"{getattr(request, 'user', '-')} {request.POST['question']} {upload.name} {digest}\n"
    while request.GET["turn"] not in released:  # noqa: ASYNC110  by another loop, under WSGI
        await asyncio.sleep(0.01)
    yield "the rest"


class Answer(AcquireView):
    def produce(self, request: HttpRequest) -> AsyncIterator[str]:
        return tell(request)


# --- Mixins: who may, asked in sync code


class Known(LoginRequiredMixin, Answer):
    pass


class Permitted(PermissionRequiredMixin, Answer):
    permission_required = "auth.view_user"


def is_staff(user: Any) -> bool:
    """Ask the database, as sync code does."""
    return User.objects.filter(pk=user.pk, is_staff=True).exists()


class Tested(UserPassesTestMixin, Answer):
    request: HttpRequest

    def test_func(self) -> bool:
        return is_staff(self.request.user)


class Stacked(LoginRequiredMixin, PermissionRequiredMixin, Answer):
    permission_required = "auth.view_user"


class ProjectView(PermissionRequiredMixin, View):
    """What the views of a project are derived from."""

    permission_required = "auth.view_user"


class Derived(Answer, ProjectView):
    pass


class Looking(Answer):
    def setup(self, request: HttpRequest, *args: Any, **kwargs: Any) -> None:
        super().setup(request, *args, **kwargs)
        self.found = is_staff(request.user)

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        if not self.found:
            return HttpResponse("not yours", status=403)
        response = super().dispatch(request, *args, **kwargs)
        response["X-Seen"] = "sync"
        return response


class Awaiting(Answer):
    async def dispatch(self, request: Any, *args: Any, **kwargs: Any) -> Any:  # type: ignore[override]
        if not await User.objects.filter(pk=request.user.pk, is_staff=True).aexists():
            return HttpResponse("not yours", status=403)
        response = await super().dispatch(request, *args, **kwargs)
        response["X-Seen"] = "async"
        return response


# --- Decorators, of Django and as people write them


def limited(view: Callable[..., Any]) -> Callable[..., Any]:
    """Count in the database who calls, in sync code; refuse those who are not staff."""

    @wraps(view)
    def wrapped(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        if not is_staff(request.user):
            return HttpResponse("too often", status=403)
        return view(request, *args, **kwargs)

    return wrapped


def seen(view: Callable[..., Any]) -> Callable[..., Any]:
    """Set a header, in sync code."""

    @wraps(view)
    def wrapped(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        response = view(request, *args, **kwargs)
        response["X-Seen"] = "sync"
        return response

    return wrapped


def awaited(view: Callable[..., Any]) -> Callable[..., Any]:
    """Set a header, in async code."""

    @wraps(view)
    async def wrapped(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        response = await view(request, *args, **kwargs)
        response["X-Seen"] = "async"
        return response

    return wrapped


staff_only = user_passes_test(is_staff)
may_view_users = permission_required("auth.view_user", raise_exception=True)

DECORATORS: dict[str, list[Callable[..., Any]]] = {
    "login_required": [login_required],
    "permission_required": [may_view_users],
    "user_passes_test": [staff_only],
    "limited": [limited],
    "headers": [login_required, never_cache, vary_on_headers("X-Any"), cache_control(private=True)],
    "checks": [login_required, csrf_protect, require_POST],
    "gzip": [login_required, gzip_page],
    "sync": [login_required, seen],
    "async": [login_required, awaited],
    "sync around async": [seen, limited, login_required],
}
OVER_A_MIXIN = ("headers", "gzip", "async", "sync around async")


def decorated(view: type[View], name: str) -> Any:
    """Return a class like `view`, decorated as Django's documentation shows it."""
    new: type[View] = type(view.__name__, (view,), {})
    return method_decorator(DECORATORS[name], name="dispatch")(new).as_view()


@transaction.non_atomic_requests
@login_required
async def known(request: HttpRequest) -> HttpResponseBase:
    return await stream_response(request, tell(request))


@transaction.non_atomic_requests
@never_cache
@may_view_users
async def permitted(request: HttpRequest) -> HttpResponseBase:
    return await stream_response(request, tell(request))


@transaction.non_atomic_requests
@staff_only
async def tested(request: HttpRequest) -> HttpResponseBase:
    return await stream_response(request, tell(request))


@seen
@limited
def sync(request: HttpRequest) -> HttpResponseBase:
    return async_to_sync(stream_response)(request, tell(request))


# --- The rest of the site


@login_not_required
@transaction.non_atomic_requests
async def page(request: HttpRequest) -> HttpResponse:
    return HttpResponse(get_token(request))


@login_not_required
@transaction.non_atomic_requests
async def log_in(request: HttpRequest, name: str) -> HttpResponse:
    """Log somebody in: the staff may view users, others may not."""
    user, is_new = await User.objects.aget_or_create(username=name, is_staff=name == "ada")
    if is_new and user.is_staff:
        await user.user_permissions.aadd(await Permission.objects.aget(codename="view_user"))
    await alogin(request, user, backend="django.contrib.auth.backends.ModelBackend")
    return HttpResponse(get_token(request))


@transaction.non_atomic_requests
async def release(request: HttpRequest, turn: str) -> HttpResponse:
    released.add(turn)
    return HttpResponse()


CLASSES: dict[str, type[View]] = {
    "LoginRequiredMixin": Known,
    "PermissionRequiredMixin": Permitted,
    "UserPassesTestMixin": Tested,
    "two mixins": Stacked,
    "a view of the project": Derived,
    "a dispatch of one's own": Looking,
    "an async dispatch": Awaiting,
}
VIEWS: dict[str, Any] = {
    **{name: view.as_view() for name, view in CLASSES.items()},
    **{f"dispatch: {name}": decorated(Answer, name) for name in DECORATORS},
    **{f"dispatch over mixin: {name}": decorated(Known, name) for name in OVER_A_MIXIN},
    "as_view: login_required": login_required(Answer.as_view()),
    "as_view: never_cache": never_cache(permission_required("auth.view_user")(Answer.as_view())),
    "function: login_required": known,
    "function: permission_required": permitted,
    "function: user_passes_test": tested,
    "function: sync": sync,
}
ADDRESSES = {name: f"around/{number}/" for number, name in enumerate(VIEWS)}
urlpatterns: list[URLPattern | URLResolver] = [
    path("page/", page),
    path("login/<str:name>/", log_in),
    path("release/<str:turn>/", release),
    path("answer/", Answer.as_view()),
    path("streams/", include("resumable_streams.urls")),
    *(path(ADDRESSES[name], view) for name, view in VIEWS.items()),
]

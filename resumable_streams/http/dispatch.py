"""The way to an async view through Django's mixins, decorators and settings.

Most of that is sync, and takes what it goes around for sync, too: `LoginRequiredMixin` answers with
a redirect where an async view awaits, `PermissionRequiredMixin` asks the database, a decorator sets
a header on the response of a view. So all code around the handlers of a view runs in the thread of
the request, where the ORM is allowed, and gets a response from them; the handlers themselves always
run on the event loop, and with nothing around them there is no thread.
"""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial, wraps
from inspect import isawaitable
from typing import Any, ClassVar, TypeVar

from asgiref.sync import async_to_sync, sync_to_async
from django.db import connections, transaction
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.views.generic import View

from ..conf import csrf_middleware
from ..owners import load_user
from ..process.green import is_green
from ..process.runtime import runtime
from .csrf import refuse_forgery

__all__ = ["AsyncView", "non_atomic"]

AnyView = TypeVar("AnyView", bound=Callable[..., Any])
Answer = HttpResponseBase | Awaitable[HttpResponseBase]


def non_atomic(view: AnyView) -> AnyView:
    """Keep ATOMIC_REQUESTS off a view, in every database."""
    for using in connections:
        view = transaction.non_atomic_requests(using=using)(view)
    return view


class AsyncView(View):
    """A view with async handlers, in a class that any mixin or decorator can be put around.

    `request.user` is loaded before anything else is called, so that async code may look at it;
    not where a view does not need it. Forged requests are refused here, in place of the middleware
    of the project, which knows nothing of clients with tokens.
    """

    needs_user: ClassVar[bool] = True

    @classmethod
    def as_view(cls, **initkwargs: Any) -> Callable[..., Any]:
        answer = super().as_view(**initkwargs)
        is_bare = cls.dispatch is AsyncView.dispatch and cls.setup is View.setup
        using = initkwargs.get("using", getattr(cls, "using", None))
        is_protected = not getattr(cls.dispatch, "csrf_exempt", False)

        @wraps(answer)
        async def view(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            if cls.needs_user:
                await load_user(request)
            if is_protected and (refusal := await refuse_forgery(request, using=using)) is not None:
                return refusal
            return await _respond(partial(answer, request, *args, **kwargs), in_thread=not is_bare)

        if csrf_middleware() is not None:  # else `csrf_protect` around the view is all there is
            view.csrf_exempt = True  # type: ignore[attr-defined]
        return non_atomic(_in_greenlet(view) if is_green() else view)

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        """Call the handler: awaitable on an event loop, the response itself in a thread."""
        if _is_on_loop():
            return self._dispatch(request, *args, **kwargs)
        return async_to_sync(self._dispatch)(request, *args, **kwargs)

    async def _dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        # A view class may come after this one: `class Mine(AcquireView, ViewOfTheProject)`.
        dispatch = super().dispatch
        is_last = getattr(dispatch, "__func__", None) is View.dispatch
        return await _respond(partial(dispatch, request, *args, **kwargs), in_thread=not is_last)


def _in_greenlet(view: Callable[..., Any]) -> Callable[..., HttpResponseBase]:
    """Return a sync view that has `view` run on the home loop, in its thread.

    Django would run a loop in the greenlet of the request, in the thread of all other greenlets.
    """

    @wraps(view)
    def waiting(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        response: HttpResponseBase = runtime.call_sync(view, request, *args, **kwargs)
        return response

    for mark in ("_is_coroutine", "_is_coroutine_mark"):  # what `wraps` has copied, too
        vars(waiting).pop(mark, None)
    return waiting


def _is_on_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


async def _respond(call: Callable[[], Answer], *, in_thread: bool) -> HttpResponseBase:
    """Return the response that a call makes, whether or not that has to be awaited."""
    # The lambda hides that Django marks views as async, which are sync until they are awaited.
    answer = await sync_to_async(lambda: call())() if in_thread else call()
    return await answer if isawaitable(answer) else answer

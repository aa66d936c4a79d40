"""One source behind every framework: who asks is all that differs."""

from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from typing import Any

import jwt
from adrf.views import APIView as AsyncAPIView
from channels.auth import AuthMiddlewareStack
from channels.db import database_sync_to_async
from channels.routing import ProtocolTypeRouter, URLRouter
from django.contrib.auth.models import User
from django.core.asgi import get_asgi_application
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.middleware.csrf import get_token
from django.urls import include, path
from ninja import NinjaAPI
from ninja.security import HttpBearer, django_auth
from rest_framework.authentication import SessionAuthentication, TokenAuthentication
from rest_framework.authtoken.models import Token
from rest_framework.permissions import IsAuthenticated

from resumable_streams import urls
from resumable_streams.consumers import StreamConsumer
from resumable_streams.contrib import ninja
from resumable_streams.contrib.rest_framework import (
    AcquireAPIMixin,
    AcquireAPIView,
    stream_urls,
)
from resumable_streams.views import AcquireView, stream_response
from tests.tools.sources import Tap

KEY = "of the tokens, and at least 32 bytes long"

taps: defaultdict[str, Tap] = defaultdict(Tap)
"""What each turn says."""


def source(turn: str) -> AsyncIterator[bytes]:
    return taps[turn]()


# --- Django, with a middleware that knows JSON web tokens


def token_of(user: User) -> str:
    return jwt.encode({"sub": str(user.pk)}, KEY, "HS256")


def user_of(token: str) -> User | None:
    try:
        claims = jwt.decode(token, KEY, ["HS256"])
    except jwt.InvalidTokenError:
        return None
    return User.objects.filter(pk=claims["sub"]).first()


def jwt_middleware(get_response: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def middleware(request: Any) -> Any:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme == "JWT" and (user := user_of(token)):
            request.user = user
        return get_response(request)

    return middleware


class Answer(AcquireView):
    def produce(self, request: HttpRequest) -> AsyncIterator[bytes]:
        return source(request.GET["turn"])


# --- REST framework, and its async twin


class RestAnswer(AcquireAPIView):
    authentication_classes = [TokenAuthentication, SessionAuthentication]
    permission_classes = [IsAuthenticated]

    def produce(self, request: Any) -> AsyncIterator[bytes]:
        return source(request.query_params["turn"])


class AsyncRestAnswer(AcquireAPIMixin, AsyncAPIView):
    authentication_classes = [TokenAuthentication, SessionAuthentication]
    permission_classes = [IsAuthenticated]

    def produce(self, request: Any) -> AsyncIterator[bytes]:
        return source(request.query_params["turn"])


REST: dict[str, Any] = {
    "authentication_classes": [TokenAuthentication, SessionAuthentication],
    "permission_classes": [IsAuthenticated],
}

# --- Ninja


class Bearer(HttpBearer):
    def authenticate(self, request: HttpRequest, token: str) -> User | None:
        return user_of(token)


api = NinjaAPI(auth=[Bearer(), django_auth], urls_namespace="frameworks")
owner_of_ninja = ninja.authenticated_owner(Bearer(), django_auth)


@api.post("/answer/")
async def answer(request: HttpRequest, turn: str) -> HttpResponseBase:
    return await stream_response(request, lambda: source(turn))


api.add_router("/streams/", ninja.stream_router())


# --- Channels


class Answers(StreamConsumer):
    def produce(self, data: Any) -> AsyncIterator[bytes]:
        return source(data["turn"])


def with_token(application: Any) -> Any:
    """Set the user whom a bearer token names, as a middleware of Channels does."""

    async def middleware(scope: Any, receive: Any, send: Any) -> None:
        header = dict(scope["headers"]).get(b"authorization", b"").decode()
        scope["user"] = await database_sync_to_async(user_of)(header.removeprefix("Bearer "))
        await application(scope, receive, send)

    return middleware


def application() -> Any:
    sockets = [
        path("ws/session/", AuthMiddlewareStack(Answers.as_asgi())),
        path("ws/token/", with_token(Answers.as_asgi())),
    ]
    return ProtocolTypeRouter({"http": get_asgi_application(), "websocket": URLRouter(sockets)})


# --- Addresses


def page(request: HttpRequest) -> HttpResponse:
    return HttpResponse(get_token(request))


urlpatterns = [
    path("page/", page),
    path("django/answer/", Answer.as_view()),
    path("django/streams/", include(urls.stream_urls(), "django")),
    path("rest/answer/", RestAnswer.as_view()),
    path("rest/streams/", include(stream_urls(**REST), "rest")),
    path("async/answer/", AsyncRestAnswer.as_view()),
    path("async/streams/", include(stream_urls(**REST), "async")),
    path("plain-rest/answer/", Answer.as_view(using="rest")),
    path("plain-rest/streams/", include(urls.stream_urls("rest"), "plain-rest")),
    path("plain-ninja/answer/", Answer.as_view(using="ninja")),
    path("plain-ninja/streams/", include(urls.stream_urls("ninja"), "plain-ninja")),
    path("ninja/", api.urls),
]

TOKENS: dict[str, Callable[[User], str]] = {
    "Token": lambda user: Token.objects.get_or_create(user=user)[0].key,
    "Bearer": token_of,
    "JWT": token_of,
}

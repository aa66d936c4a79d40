"""The site that the HTTP benchmark asks: the same chunks, kept or not, and the time it took."""

import time
import uuid
from collections.abc import AsyncIterator

from django.http import HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.urls import path

from resumable_streams.views import stream_response

from .contestants import OWNER, Peer
from .loads import paced

_peer: list[Peer] = []


async def owner(request: HttpRequest) -> str:
    return OWNER


def _source(request: HttpRequest) -> AsyncIterator[bytes]:
    return paced(
        rate=float(request.GET["rate"]),
        count=int(request.GET["count"]),
        phase=float(request.GET["phase"]),
    )


async def _events(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    async for chunk in chunks:
        yield b"data: " + chunk + b"\n"


async def bare(request: HttpRequest, form: str = "raw") -> HttpResponseBase:
    source = _events(_source(request)) if form == "sse" else _source(request)
    return StreamingHttpResponse(source, content_type="application/octet-stream")


async def ours(request: HttpRequest, form: str = "raw") -> HttpResponseBase:
    source = _events(_source(request)) if form == "sse" else _source(request)
    return await stream_response(request, source, format=form)


async def peer(request: HttpRequest) -> HttpResponseBase:
    if not _peer:
        _peer.append(Peer())
    stream_id = str(uuid.uuid4())
    await _peer[0].produce(stream_id, _source(request))
    chunks = await _peer[0].read(stream_id)
    return StreamingHttpResponse(chunks, content_type="application/octet-stream")


async def cpu(request: HttpRequest) -> HttpResponse:
    return JsonResponse({"seconds": time.process_time()})


urlpatterns = [
    path("bare/", bare),
    path("ours/", ours),
    path("bare/<form>/", bare),
    path("ours/<form>/", ours),
    path("peer/", peer),
    path("cpu/", cpu),
]

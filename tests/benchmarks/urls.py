"""The site that the HTTP benchmark asks: the same chunks, kept or not, and the time it took."""

import time
import uuid

from django.http import HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.urls import path

from resumable_streams.views import stream_response

from .contestants import OWNER, Peer
from .loads import paced

_peer: list[Peer] = []


async def owner(request: HttpRequest) -> str:
    return OWNER


def _source(request: HttpRequest):
    return paced(
        rate=float(request.GET["rate"]),
        count=int(request.GET["count"]),
        phase=float(request.GET["phase"]),
    )


async def bare(request: HttpRequest) -> HttpResponseBase:
    return StreamingHttpResponse(_source(request), content_type="application/octet-stream")


async def ours(request: HttpRequest) -> HttpResponseBase:
    return await stream_response(request, _source(request))


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
    path("peer/", peer),
    path("cpu/", cpu),
]

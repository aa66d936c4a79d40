"""What visitors of the demo may break: the process that writes their answer."""

import os
import signal

from django.conf import settings
from django.core.cache import caches
from django.http import Http404, HttpRequest, HttpResponse
from django.views.decorators.http import require_POST

from resumable_streams import streams
from resumable_streams.owners import get_identity

TTL = 3_600

# Why no process may be killed, or nothing.
if not settings.IS_SHARED:
    REASON = "The streams live in the memory of this process: start with make demo REDIS=1."
elif not settings.DEBUG or settings.PROCESSES < 2:
    REASON = "No other process is there to go on: start with make demo."
else:
    REASON = ""


async def note_producer(stream_id: str) -> None:
    """Remember that this process produces a stream."""
    if not REASON:
        await caches["streams"].aset(f"producer:{stream_id}", os.getpid(), TTL)


@require_POST
async def kill(request: HttpRequest, stream_id: str) -> HttpResponse:
    """Kill the process that produces a stream of the one who asks, as a lack of memory would."""
    identity = await get_identity(request, using="default")
    info = await streams.astatus(stream_id, owner=identity) if identity.owners else None
    pid = await caches["streams"].aget(f"producer:{stream_id}")
    if info is None or not info.is_streaming or not is_worker(pid):
        raise Http404
    os.kill(pid, signal.SIGKILL)
    return HttpResponse(status=202)


def is_worker(pid: object) -> bool:
    """Return whether this is a server process of the demo: a pid may have another owner by now."""
    try:
        return isinstance(pid, int) and os.getpgid(pid) == os.getpgrp() and pid != os.getppid()
    except ProcessLookupError:
        return False

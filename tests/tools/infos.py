"""The state of a stream, made up."""

from typing import Any

from resumable_streams.types import StreamInfo, StreamStatus

__all__ = ["make_info"]


def make_info(status: str = "streaming", size: int = 0, **more: Any) -> StreamInfo:
    named: dict[str, Any] = {
        "stream_id": "s",
        "tenant": "default",
        "generation": 1,
        "owner": "me",
        "entries": 1,
        "created": 0,
        "expires": 0,
        "epoch": "e",
        **more,
    }
    return StreamInfo(status=StreamStatus(status), size=size, **named)

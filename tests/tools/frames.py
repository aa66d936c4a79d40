"""Bodies of server-sent events, without what a format adds to the frames of the log."""

import re

__all__ = ["without_ids"]

_ID = rb"\nid: \w+-(?:\d+|end)"


def without_ids(body: bytes) -> bytes:
    """Return a body without the ids of its frames, each of which has to end with one."""
    frames = [frame for frame in body.split(b"\n\n")[:-1] if not frame.startswith(b":")]
    assert all(re.search(_ID + rb"\Z", frame) for frame in frames)
    return re.sub(_ID + rb"(?=\n\n)", b"", body)

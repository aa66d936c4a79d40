"""The log as it is."""

from ..types import StreamInfo
from .base import Encoder, Format

__all__ = ["Raw", "raw"]


class Raw(Format):
    """The log as it is.

    There is no place for a terminal frame, so only `done` and `cancelled` end the body cleanly: on
    an error or a drain the connection is cut. Ask HEAD which it was. The stream's attribute
    `content_type`, if it has one, is the content type.
    """

    name = "raw"
    content_type = "application/octet-stream"
    is_log = True

    def get_content_type(self, info: StreamInfo) -> str:
        return info.attrs.get("content_type") or self.content_type

    def encoder(self, info: StreamInfo, offset: int, *, reset: bool = False) -> Encoder:
        return Encoder()


raw = Raw()

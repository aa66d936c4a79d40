"""Resumable byte streams for Django: produced once, stored, resumed by their owner."""

from .engine.reader import StreamReader
from .exceptions import (
    InvalidOffset,
    InvalidOwner,
    InvalidStoreError,
    InvalidStreamId,
    InvalidTenant,
    OffsetInsideFrame,
    ShuttingDown,
    StoreForbidden,
    StoreUnavailable,
    StreamClaimLost,
    StreamDoesNotExist,
    StreamError,
    StreamFailed,
    StreamFinalized,
    StreamGap,
    StreamLimitExceeded,
    StreamReplaced,
    StreamUnreadable,
)
from .producing.sources import cancellation_reason, report_usage
from .streams import StreamManager, streams
from .types import PUBLIC, CancellationReason, ErrorCode, Owner, Role, StreamInfo, StreamStatus

__version__ = "0.1.0"

__all__ = [
    "PUBLIC",
    "CancellationReason",
    "ErrorCode",
    "InvalidOffset",
    "InvalidOwner",
    "InvalidStoreError",
    "InvalidStreamId",
    "InvalidTenant",
    "OffsetInsideFrame",
    "Owner",
    "Role",
    "ShuttingDown",
    "StoreForbidden",
    "StoreUnavailable",
    "StreamClaimLost",
    "StreamDoesNotExist",
    "StreamError",
    "StreamFailed",
    "StreamFinalized",
    "StreamGap",
    "StreamInfo",
    "StreamLimitExceeded",
    "StreamManager",
    "StreamReader",
    "StreamReplaced",
    "StreamStatus",
    "StreamUnreadable",
    "cancellation_reason",
    "report_usage",
    "streams",
]

"""The values of labels in metrics, and the bounds of histograms: the same for every exporter."""

from ..types import CutOff, ErrorCode, RefusalReason, StreamStatus

__all__ = [
    "BYTES",
    "CHECKS",
    "ENDS",
    "LONG_SECONDS",
    "OPERATIONS",
    "OUTCOMES",
    "REASONS",
    "SECONDS",
    "SEEN_BY",
    "WAITING_SECONDS",
]

OPERATIONS = ("run", "resume", "status", "cancel", "delete")
"""The operations of views."""

CHECKS = (*OPERATIONS, "sign")
"""The operations that check an owner."""

OUTCOMES = ("match", "foreign", "missing", "revoked")
"""The outcomes of a check; all but the first refuse."""

REASONS = tuple(reason.value for reason in RefusalReason)
"""The reasons of a refusal."""

SEEN_BY = ("reader", "producer")
"""The places where a lost producer is seen."""

ENDS = (
    (StreamStatus.DONE.value, ""),
    *((StreamStatus.CANCELLED.value, code) for code in ("", *(each.value for each in CutOff))),
    *((StreamStatus.ERROR.value, code.value) for code in ErrorCode),
)
"""The ends of streams: status and error code."""

SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
"""The bounds for an append and a delivery, which take milliseconds."""

WAITING_SECONDS = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""The bounds for the first byte, which the model takes its time for."""

LONG_SECONDS = (0.1, 1.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1_800.0, 3_600.0)
"""The bounds for a whole stream."""

BYTES = (65_536.0, 262_144.0, 1_048_576.0, 4_194_304.0, 16_777_216.0)
"""The bounds for the bytes a reader is behind."""

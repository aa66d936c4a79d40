"""All rows of the table, in its order."""

from . import append, delivery, hooks, idle, knee, over_http, over_websocket, resume, sizing
from .registry import Bench

__all__ = ["ROWS"]

ROWS: dict[str, Bench] = {
    bench.name: bench
    for part in (sizing, delivery, append, resume, idle, over_http, knee, over_websocket, hooks)
    for bench in part.BENCHES
}

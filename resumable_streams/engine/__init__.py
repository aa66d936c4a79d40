"""One alias of the settings in this process, and the streams that are started and read through it.

engine      store, hub, leases and producers of one alias
elections   winning a stream, and a place for it among the live ones
handover    a stream that goes from one process to another
reader      the result of `run` and `resume`
"""

from .engine import Engine, get_engine

__all__ = ["Engine", "get_engine"]

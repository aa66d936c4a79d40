"""Signals: what an append pays for being observable. *Bare* is `Signal.asend`, Django's own way."""

from time import perf_counter_ns

from django.dispatch import Signal

from resumable_streams.signals import StreamSignal

from .registry import Bench, Target

__all__ = ["BENCHES"]

TIMES = 20_000


def _receiver(**named: object) -> None:
    pass


async def _ours(signal: StreamSignal, times: int) -> float:
    started = perf_counter_ns()
    for _ in range(times):
        if signal.receivers:  # as the producer does
            await signal.notify(None, hook_errors="raise", offset=0, size=64)
    return (perf_counter_ns() - started) / times / 1e3


async def _bare(signal: Signal, times: int) -> float:
    started = perf_counter_ns()
    for _ in range(times):
        await signal.asend(None, offset=0, size=64)
    return (perf_counter_ns() - started) / times / 1e3


async def run(name: str, scale: float) -> dict[str, float]:
    times = max(10, round(TIMES * scale / (1 if name == "ours" else 20)))
    found = {}
    for what in ("µs, no receiver", "µs, one sync receiver"):
        signal = StreamSignal() if name == "ours" else Signal()
        if what != "µs, no receiver":
            signal.connect(_receiver)
        found[what] = (
            await _ours(signal, times)
            if isinstance(signal, StreamSignal)
            else await _bare(signal, times)
        )
    return found


BENCHES = [
    Bench(
        name="signals",
        title="A signal for each append (bare: Signal.asend)",
        run=run,
        contestants=("ours", "bare"),
        targets={
            "µs, no receiver": Target("<= 0.1 µs", lambda v: v["ours"] <= 0.1),
            "µs, one sync receiver": Target("<= 0.1x bare", lambda v: v["ours"] <= 0.1 * v["bare"]),
        },
    )
]

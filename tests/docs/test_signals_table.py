"""The table of signals in docs/observability.md, against the code."""

import re

from resumable_streams import signals
from resumable_streams.signals import StreamSignal

from .pages import DOCS

SIGNALS = {name for name, found in vars(signals).items() if isinstance(found, StreamSignal)}
ROW = re.compile(r"^\| `(\w+)` \|", re.MULTILINE)


def test_every_signal_has_its_row_and_no_row_is_of_another() -> None:
    page = (DOCS / "observability.md").read_text()
    table = page.partition("\n| signal | when |")[2].partition("\n\n")[0]
    rows = ROW.findall(table)
    assert len(rows) == len(set(rows))
    assert set(rows) == SIGNALS


def test_every_signal_is_exported() -> None:
    assert set(signals.__all__) == SIGNALS | {"StreamSignal", "inline"}

"""Charts of the last hour, by the minute, from the records; the templates draw them as SVG."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from django.db.models import Count
from django.db.models.functions import TruncMinute
from django.utils import timezone
from django.utils.translation import gettext as _t

from ..models import StreamRecord

__all__ = ["Chart", "charts_of_the_last_hour"]

MINUTES = 60
STEP = 4  # the width of a minute, and the gap in it, in units of the drawing
GAP = 1
HEIGHT = 48

Status = StreamRecord.Status
FAILED = (Status.ERROR, Status.LOST)

Minutes = Mapping[datetime, int]


@dataclass(frozen=True, slots=True)
class Bar:
    """One minute, in units of the drawing."""

    x: int
    y: int
    height: int
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """The bars of one hour; `name` is its class in the stylesheet."""

    name: str
    title: str
    total: int
    most: int
    bars: list[Bar] = field(default_factory=list)
    width: int = MINUTES * STEP
    bar_width: int = STEP - GAP
    height: int = HEIGHT

    @property
    def summary(self) -> str:
        """The chart in words, for people who do not see it."""
        text = _t("%(title)s in the last hour: %(total)d, at most %(most)d a minute.")
        return text % {"title": self.title, "total": self.total, "most": self.most}


def charts_of_the_last_hour(using: str, alias: str, tenant: str) -> list[Chart]:
    """Return how many streams of a tenant started, ended and failed: two queries, by an index."""
    now = timezone.now()
    first = now.replace(second=0, microsecond=0) - timedelta(minutes=MINUTES - 1)
    rows = StreamRecord.objects.using(using).filter(alias=alias, tenant=tenant).order_by()
    begun = rows.filter(acquired__gte=first).annotate(minute=TruncMinute("acquired", tzinfo=UTC))
    over = rows.filter(ended__gte=first).annotate(minute=TruncMinute("ended", tzinfo=UTC))
    started = dict(begun.values_list("minute").annotate(Count("pk")))
    ended, failed = Counter[datetime](), Counter[datetime]()
    for minute, status, count in over.values_list("minute", "status").annotate(Count("pk")):
        ended[minute] += count
        failed[minute] += count * (status in FAILED)
    return [
        _chart("started", _t("Started"), started, first),
        _chart("ended", _t("Ended"), ended, first),
        _chart("failed", _t("Failed"), failed, first),
    ]


def _chart(name: str, title: str, counts: Minutes, first: datetime) -> Chart:
    minutes = [first + timedelta(minutes=number) for number in range(MINUTES)]
    known = {moment.timestamp(): count for moment, count in counts.items()}
    heights = [known.get(minute.timestamp(), 0) for minute in minutes]
    most = max(heights)
    bars = list(_bars(minutes, heights, most))
    return Chart(name=name, title=title, total=sum(heights), most=most, bars=bars)


def _bars(minutes: list[datetime], counts: list[int], most: int) -> Iterator[Bar]:
    for number, (minute, count) in enumerate(zip(minutes, counts, strict=True)):
        if not count:
            continue
        height = max(2, round(HEIGHT * count / most))  # one stream among thousands is seen, too
        local = timezone.localtime(minute) if timezone.is_aware(minute) else minute
        yield Bar(number * STEP, HEIGHT - height, height, f"{local:%H:%M}: {count}")

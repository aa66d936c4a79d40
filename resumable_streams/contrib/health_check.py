"""A check for django-health-check 4, the extra `health-check`.

    # urls.py
    HealthCheckView.as_view(checks=["resumable_streams.contrib.health_check.StreamStore"])

For an alias of streams other than `default`, name it: `(StreamStore, {"alias": "drafts"})`.
"""

from dataclasses import dataclass
from datetime import timedelta

from health_check.base import HealthCheck
from health_check.exceptions import ServiceUnavailable

from ..conf import DEFAULT_ALIAS
from ..operating.readiness import ANSWER_SECONDS, why_unready

__all__ = ["StreamStore"]


@dataclass
class StreamStore(HealthCheck):
    """A check that this process does not drain, and that the store of an alias answers.

    Its page shows no details: the log `resumable_streams.store` has them.
    """

    alias: str = DEFAULT_ALIAS

    timeout = timedelta(seconds=ANSWER_SECONDS)

    async def run(self) -> None:
        if reason := await why_unready([self.alias]):
            raise ServiceUnavailable(reason)

"""The settings of worker processes: the streams of one test."""

import os

from tests.settings import *  # noqa: F403

RESUMABLE_STREAMS = {
    "default": (
        {
            "BACKEND": "resumable_streams.stores.redis.RedisStore",
            "LOCATION": os.environ["REDIS_URL"],
            "KEY_PREFIX": os.environ["KEY_PREFIX"],
            "LEASE": float(os.environ.get("LEASE", "15")),  # type: ignore[dict-item]
        }
        if os.environ["REDIS_URL"]
        else {"BACKEND": "resumable_streams.stores.memory.MemoryStore"}
    )
}

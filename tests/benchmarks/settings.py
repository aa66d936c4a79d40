"""Django settings of the benchmarks, for every process of a run; the environment has the server."""

import os

SECRET_KEY = "benchmarks"
DEBUG = False
ALLOWED_HOSTS = ["127.0.0.1"]
USE_TZ = True
ROOT_URLCONF = "tests.benchmarks.urls"
INSTALLED_APPS = ["resumable_streams"]
MIDDLEWARE: list[str] = []
LOGGING_CONFIG = None

REDIS_URL = os.environ.get("BENCH_REDIS_URL", "redis://127.0.0.1:6379/0")
KEY_PREFIX = os.environ.get("BENCH_KEY_PREFIX", "bench")

RESUMABLE_STREAMS = {
    "default": {
        "BACKEND": "resumable_streams.stores.redis.RedisStore",
        "LOCATION": REDIS_URL,
        "KEY_PREFIX": f"{KEY_PREFIX}:ours",
        "LIMITS": {"MAX_STREAM_BYTES": 512 * 1024 * 1024},
        "OWNER": "tests.benchmarks.urls.owner",
    }
}

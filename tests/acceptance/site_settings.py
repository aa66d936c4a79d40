"""The example's settings with a lease that a test can wait for."""

import os

from example_project.settings import *  # noqa: F403
from example_project.settings import RESUMABLE_STREAMS

RESUMABLE_STREAMS["default"].update(
    KEY_PREFIX=os.environ.get("KEY_PREFIX", "acceptance"),
    TTL=float(os.environ.get("TTL", "86400")),
    LEASE=float(os.environ.get("LEASE", "15")),
    SWEEP=float(os.environ.get("SWEEP", "5")),
    STORE_TIMEOUT=float(os.environ.get("STORE_TIMEOUT", "10")),
    DRAIN_TIMEOUT=float(os.environ.get("DRAIN_TIMEOUT", "10")),
)

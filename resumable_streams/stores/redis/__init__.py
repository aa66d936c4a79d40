"""Streams in Redis or Valkey; see `store` for the design."""

from .store import RedisStore

__all__ = ["RedisStore"]

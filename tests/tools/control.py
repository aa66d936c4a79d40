"""Hubs, and what they have heard of what is in force in a tenant."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from resumable_streams import StreamManager
from resumable_streams.engine import get_engine

from .waiting import eventually

__all__ = ["enforced_by", "heard_by"]


@asynccontextmanager
async def heard_by(*sides: StreamManager) -> AsyncIterator[None]:
    """Leave the block once each side has heard of a change of control that was made in it."""
    hubs = [get_engine(side.alias).hub for side in sides]
    before = [hub.control_version for hub in hubs]
    yield
    for hub, count in zip(hubs, before, strict=True):
        await eventually(lambda hub=hub, count=count: hub.control_version > count)  # type: ignore[misc]


@asynccontextmanager
async def enforced_by(*sides: StreamManager) -> AsyncIterator[None]:
    """Leave the block once each side has enforced a change of control that was made in it."""
    async with heard_by(*sides):
        yield
    for side in sides:
        enforcing = get_engine(side.alias)._enforcing
        if enforcing is not None:
            await enforcing

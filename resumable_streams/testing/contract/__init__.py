"""The contract of `stores.base`, as tests: one part a module."""

from .appends import Appends
from .control import Controls
from .elections import Elections
from .ends import Ends
from .feeds import Feeds
from .handing_over import HandingOver
from .incarnations import Incarnations
from .lifetimes import Lifetimes
from .listings import Listings
from .processes import ProcessTables
from .quotas import Quotas
from .reads import Reads
from .scans import Scans
from .slots import Slots

__all__ = ["StreamStoreContract"]


class StreamStoreContract(
    Elections,
    Appends,
    Incarnations,
    HandingOver,
    Ends,
    Reads,
    Lifetimes,
    Feeds,
    Scans,
    Controls,
    Quotas,
    Listings,
    Slots,
    ProcessTables,
):
    """All that a store promises; `resumable_streams.testing` says how to use it."""

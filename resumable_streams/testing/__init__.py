"""For tests of a site's streams, and for authors of stores.

*A site* (docs/testing.md): `StreamTestMixin` for Django's test cases, the fixture of
`testing.plugin` for pytest, and `isolated_streams` for anything else give each test streams in
memory, end what it leaves, and let producers share its transaction. `ScriptedSource` is a source in
the test's hand.

*A store*: subclass `StreamStoreContract` in a test module, give it a `store`, and every test method
holds the store to the promises of `stores.base`. It needs pytest with `asyncio_mode = "auto"`:

    class TestMyStore(StreamStoreContract):
        @pytest.fixture
        async def store(self):
            store = MyStore(
                alias="test", key_prefix=uuid4().hex, location=None, limits=self.limits
            )
            yield store
            await store.aclose()

Each test needs a store without streams (a prefix of its own is enough). Override `another` if a
second connection to the same streams is something else than the store itself, and `pass_time` if
the store takes a clock. `pytest.register_assert_rewrite("resumable_streams.testing")`, called
before the import, makes failures tell more.
"""

from .cases import StreamTestMixin
from .clients import AsyncReading, AsyncStreamClient, Reading, StreamClient
from .contract import StreamStoreContract
from .isolation import ProducerLeftRunning, aproduced, isolated_streams, produced
from .listener import RecordingListener
from .moments import Moment
from .sources import HANG, ScriptedSource

__all__ = [
    "HANG",
    "AsyncReading",
    "AsyncStreamClient",
    "Moment",
    "ProducerLeftRunning",
    "Reading",
    "RecordingListener",
    "ScriptedSource",
    "StreamClient",
    "StreamStoreContract",
    "StreamTestMixin",
    "aproduced",
    "isolated_streams",
    "produced",
]

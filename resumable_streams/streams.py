"""The API: `streams` runs, resumes, looks at and ends streams, always in the name of an owner."""

import uuid
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from django.http import HttpRequest

from .conf import DEFAULT_ALIAS, get_settings
from .control import revoke
from .engine import Engine, get_engine
from .engine.reader import StreamReader, collect
from .exceptions import InvalidOffset, ShuttingDown, StreamDoesNotExist
from .identifiers import DEFAULT_TENANT, validate_slot, validate_tenant
from .links import SignedLink
from .listings import find_active, list_streams, read_page
from .operating import doctor, tenants
from .operating.inventory import Inventory
from .operating.selection import Selection
from .permissions import (
    Asker,
    Granted,
    Owners,
    StreamAddress,
    find,
    read_address,
    read_owners,
    tenant_of,
)
from .positions import Locate, Peek, Start
from .process.holdings import let_go
from .process.runtime import runtime
from .process.threads import asker
from .process.twins import sync_twin
from .producing.sources import Source
from .runs import Here, Production, Run, make_terms
from .signals import stream_cancelled, stream_deleted, stream_resumed
from .types import (
    Observation,
    OnBusy,
    Owner,
    Role,
    StreamInfo,
    StreamPage,
    StreamStatus,
    Terms,
)
from .workers import Order

__all__ = ["Asker", "StreamManager", "streams"]


Observations = list[Observation]
"""In a class that has a `list` of its own, no annotation can name the type."""


class StreamManager:
    """The streams of one alias.

    Every verb takes the `owner` it acts for: a string, or PUBLIC for a stream that anybody who
    knows its id may read. A stream of another owner is a missing stream. An owner with several
    names, as after a login, is a tuple of them, or the `Identity` of a request, which brings its
    tenant with it; a new stream is bound to the first name. `tenant` is `default`
    unless given. `request`, if given, is passed to the receivers of signals; to start or resume a
    stream it lets go of its database connections, since that may take its time.

    Raises InvalidStreamId, InvalidOwner and InvalidTenant before anything happens, and
    StoreUnavailable when the store does not answer.

    `arun` is for async code, on any event loop; `run` is the same verb for sync code, in a thread
    without one. So it is with every verb.
    """

    def __init__(self, alias: str = DEFAULT_ALIAS, *, tenant: str | None = None):
        self.alias = alias
        self._tenant = None if tenant is None else validate_tenant(tenant)

    def using(self, alias: str) -> "StreamManager":
        """Return the streams of another alias of RESUMABLE_STREAMS."""
        return StreamManager(get_settings(alias).alias, tenant=self._tenant)

    def tenant(self, tenant: str) -> "StreamManager":
        """Return the streams of one tenant: no verb of theirs needs, or takes, another `tenant`."""
        return StreamManager(self.alias, tenant=tenant)

    async def arun(
        self,
        stream_id: str | None,
        source: Source,
        *,
        owner: Owners,
        tenant: str | None = None,
        ttl: float | None = None,
        attrs: Mapping[str, str] | None = None,
        slot: str | None = None,
        on_busy: OnBusy | str = OnBusy.JOIN,
        request: HttpRequest | None = None,
    ) -> StreamReader:
        """Produce the stream if nobody has before, and return a reader of it from byte 0.

        `stream_id=None` mints one. `source` is an async or sync iterable of items (bytes, text,
        or what the `format` of `attrs` can write), or a callable returning one, which only the
        elected producer calls; see `sources`. From here on
        production outlives the caller: neither its cancellation nor its end stops it. `ttl`
        (seconds) and `attrs` (small, str to str) are bound with the owner, once.

        A `slot` is a name, such as "chat:42", under which the owner has at most one live stream.
        While another one runs, `on_busy` decides: "join" returns a reader of that one, "replace"
        cancels it first (its code is `replaced`), "refuse" raises SlotBusy. A stream that is there
        under `stream_id` is joined in any case.

        Raises StreamDoesNotExist if the id belongs to another owner, ShuttingDown while this
        process drains, StreamLimitExceeded where a quota is set.
        """
        address, owners = self._read(_or_new(stream_id), tenant, owner)
        terms = make_terms(get_settings(self.alias), owners[0], ttl, attrs, slot)
        policy = OnBusy(on_busy)
        if runtime.is_draining:
            raise ShuttingDown
        await _let_go(request)
        return await runtime.call(
            self._run, address, Here(source), terms, owners, ttl is None, request, policy
        )

    run = sync_twin(arun, lets_go=True)

    async def aenqueue(
        self,
        stream_id: str | None,
        path: str,
        kwargs: Mapping[str, Any] | None = None,
        *,
        owner: Owners,
        tenant: str | None = None,
        ttl: float | None = None,
        attrs: Mapping[str, str] | None = None,
        recover: str | None = None,
        wait: float = 60,
        through: Callable[[str], object] | None = None,
        slot: str | None = None,
        on_busy: OnBusy | str = OnBusy.JOIN,
        request: HttpRequest | None = None,
    ) -> StreamReader:
        """Do as `arun`, with a producer in a worker process (`manage.py resumable_streams worker`).

        `path` names a callable that a worker calls as `path(stream_id=…, **kwargs)` for the
        source; `kwargs` is JSON, and names none of `stream_id`, `offset` and `items`. `recover`,
        called with `offset=…` and `items=…` as well, goes on if a worker died: with bytes from that
        byte of the log on, or with what follows that many items. Without it such a stream ends as
        `producer_lost`. A stream that no worker takes within `wait` seconds does, too. With a
        store that has no queue (memory) the source is run in this process. `through`, called in a
        thread with the order as a string, puts it on another queue than ours, for
        `workers.run_order`: see `contrib.celery`, `contrib.tasks`.
        """
        settings = get_settings(self.alias)
        address, owners = self._read(_or_new(stream_id), tenant, owner)
        order = Order(
            path=path, kwargs=dict(kwargs or {}), recover=recover, wait=wait, through=through
        )
        terms = make_terms(settings, owners[0], ttl, attrs, slot)
        terms, policy = replace(terms, grace=2 * settings.lease), OnBusy(on_busy)
        if not 0 < wait < terms.ttl:
            raise ValueError("wait is a number of seconds, shorter than the ttl.")
        await _let_go(request)
        return await runtime.call(
            self._run, address, order, terms, owners, ttl is None, request, policy
        )

    enqueue = sync_twin(aenqueue, lets_go=True)

    async def _run(
        self,
        address: StreamAddress,
        production: Production,
        terms: Terms,
        names: tuple[Owner, ...],
        default_ttl: bool,
        request: HttpRequest | None,
        on_busy: OnBusy,
    ) -> StreamReader:
        run = Run(get_engine(self.alias), address, production, terms, names, request, on_busy)
        return await run.start(default_ttl=default_ttl)

    async def aresume(
        self,
        stream_id: str,
        *,
        owner: Asker,
        tenant: str | None = None,
        offset: int = 0,
        live: bool = True,
        locate: Locate | None = None,
        request: HttpRequest | None = None,
    ) -> StreamReader | None:
        """Return a reader from byte `offset` on; None: missing, foreign, expired or revoked.

        With `live=False` it ends at what is stored now. `owner` may be a SignedLink, of which the
        tenant is then taken. `locate`, given the stream as it is now, says where to start in place
        of both. Raises InvalidOffset for an offset that is not from 0 to the size of the stream.
        """
        locate = locate or _at(_validate_offset(offset), live=live)
        address, asker = read_address(stream_id, self._in(tenant), owner)
        await _let_go(request)
        return await runtime.call(self._resume, address, asker, locate, request)

    resume = sync_twin(aresume, lets_go=True)

    async def _resume(
        self,
        address: StreamAddress,
        asker: tuple[Owner, ...] | SignedLink,
        locate: Locate,
        request: HttpRequest | None,
    ) -> StreamReader | None:
        engine = get_engine(self.alias)
        control_version = engine.hub.control_version
        found = await find(engine, address, asker, "resume", request)
        if found is None:
            return None
        key, info, asking = found
        start = await locate(info, _peek(engine, found))
        await engine.notify(
            stream_resumed,
            key,
            asking,
            epoch=info.epoch,
            offset=start.offset,
            size=info.size,
            status=info.status,
            request=request,
        )
        return StreamReader(
            engine,
            key,
            info,
            role=Role.CONSUMER,
            control_version=control_version,
            offset=start.offset,
            live=start.live,
        )

    async def arequire_resume(
        self,
        stream_id: str,
        *,
        owner: Asker,
        tenant: str | None = None,
        offset: int = 0,
        live: bool = True,
        request: HttpRequest | None = None,
    ) -> StreamReader:
        """Return a reader as `aresume` does; raise StreamDoesNotExist where that returns None."""
        reader = await self.aresume(
            stream_id, owner=owner, tenant=tenant, offset=offset, live=live, request=request
        )
        if reader is None:
            raise StreamDoesNotExist
        return reader

    require_resume = sync_twin(arequire_resume, lets_go=True)

    async def astatus(
        self,
        stream_id: str,
        *,
        owner: Asker,
        tenant: str | None = None,
        locate: Locate | None = None,
        request: HttpRequest | None = None,
    ) -> StreamInfo | None:
        """Return the state of the stream, None where `aresume` would return None.

        `locate` is asked where `resume` would start, and may refuse as it does there.
        """
        address, asker = read_address(stream_id, self._in(tenant), owner)
        return await runtime.call(self._status, address, asker, locate, request)

    status = sync_twin(astatus)

    async def _status(
        self,
        address: StreamAddress,
        asker: tuple[Owner, ...] | SignedLink,
        locate: Locate | None,
        request: HttpRequest | None,
    ) -> StreamInfo | None:
        engine = get_engine(self.alias)
        found = await find(engine, address, asker, "status", request)
        if found is None:
            return None
        if locate is not None:
            await locate(found.info, _peek(engine, found))
        return found.info

    async def acollect(
        self,
        stream_id: str,
        *,
        owner: Asker,
        tenant: str | None = None,
        max_bytes: int | None = None,
        request: HttpRequest | None = None,
    ) -> bytes:
        """Return the whole of a stream that has ended as done or cancelled: its bytes as stored.

        In a format with frames these are its frames. `max_bytes` is MAX_STREAM_BYTES unless given;
        of a longer stream nothing is read. Raises StreamDoesNotExist where `aresume` would return
        None, StreamUnfinished while it streams, StreamFailed, and StreamLimitExceeded.
        """
        reader = await self.arequire_resume(
            stream_id, owner=owner, tenant=tenant, live=False, request=request
        )
        most = get_settings(self.alias).limits.max_stream_bytes if max_bytes is None else max_bytes
        return await collect(reader, most)

    collect = sync_twin(acollect, lets_go=True)

    async def aactive(
        self, slot: str, *, owner: Owners, tenant: str | None = None
    ) -> StreamInfo | None:
        """Return the live stream in a slot of the owner, or None if the slot is free.

        A stream that is about to start, and not elected yet, does not count.
        """
        name, names = validate_slot(slot), read_owners(owner)
        where = validate_tenant(tenant_of(owner, self._in(tenant)) or DEFAULT_TENANT)
        return await runtime.call(self._active, where, names, name)

    active = sync_twin(aactive)

    async def _active(self, tenant: str, names: tuple[Owner, ...], slot: str) -> StreamInfo | None:
        return await find_active(get_engine(self.alias), tenant, names, slot)

    async def alist(
        self,
        *,
        owner: Owners,
        tenant: str | None = None,
        status: StreamStatus | str | None = None,
        limit: int = 50,
        cursor: str = "",
    ) -> StreamPage:
        """Return a page of the owner's streams, the newest first; `status` selects those in it.

        The `next` of a page is the `cursor` of the one after it, "" at the end. `limit` is at most
        1,000. With status "streaming" it costs as much as there is running, without it as much as
        the page. A stream that runs for long counts as newer, so it may be missing in a later page.
        Raises InvalidPage.
        """
        names, (chosen, most) = read_owners(owner), read_page(status, limit)
        where = validate_tenant(tenant_of(owner, self._in(tenant)) or DEFAULT_TENANT)
        return await runtime.call(self._list, where, names, chosen, most, cursor)

    list = sync_twin(alist)

    async def _list(
        self,
        tenant: str,
        names: tuple[Owner, ...],
        status: StreamStatus | None,
        limit: int,
        cursor: str,
    ) -> StreamPage:
        engine = get_engine(self.alias)
        return await list_streams(engine, tenant, names, status=status, limit=limit, cursor=cursor)

    async def asign(
        self,
        stream_id: str,
        *,
        owner: Owners,
        tenant: str | None = None,
        max_age: float | None = None,
        request: HttpRequest | None = None,
    ) -> str:
        """Return a token with which anybody reads this stream, for `max_age` seconds at most.

        Add it to the address of the stream as `?token=…`. It resumes and tells the status, but
        neither cancels nor deletes. It never outlives the stream, and ends with the owner's own
        right to it: by rotation, revocation or deletion. Nothing else takes it back.

        Raises StreamDoesNotExist where `aresume` would return None.
        """
        address, owners = self._read(stream_id, tenant, owner)
        return await runtime.call(self._sign, address, owners, max_age, request)

    sign = sync_twin(asign)

    async def _sign(
        self,
        address: StreamAddress,
        owners: tuple[Owner, ...],
        max_age: float | None,
        request: HttpRequest | None,
    ) -> str:
        found = await find(get_engine(self.alias), address, owners, "sign", request)
        if found is None:
            raise StreamDoesNotExist
        return str(SignedLink.make(found.info, alias=self.alias, max_age=max_age))

    async def acancel(
        self,
        stream_id: str,
        *,
        owner: Owners,
        tenant: str | None = None,
        epoch: str | None = None,
        request: HttpRequest | None = None,
    ) -> StreamInfo | None:
        """End a streaming stream as cancelled, wherever it is produced; return its state.

        Its stored bytes stay readable. Idempotent: an ended stream stays as it ended. The owner
        has to be the very one that is bound: knowing the id of a PUBLIC stream is not enough.
        Raises StreamReplaced if `epoch` is given and names another incarnation.
        """
        address, owners = self._read(stream_id, tenant, owner)
        return await runtime.call(self._cancel, address, owners, epoch, request)

    cancel = sync_twin(acancel)

    async def _cancel(
        self,
        address: StreamAddress,
        owners: tuple[Owner, ...],
        epoch: str | None,
        request: HttpRequest | None,
    ) -> StreamInfo | None:
        engine = get_engine(self.alias)
        found = await find(engine, address, owners, "cancel", request, epoch=epoch)
        if found is None:
            return None
        key, info, owner = found

        async def act() -> StreamInfo | None:
            # The epoch keeps the check and the act about the same incarnation.
            ended = await engine.store.cancel(key, epoch=info.epoch)
            await engine.notify(stream_cancelled, key, owner, epoch=info.epoch, request=request)
            return ended

        return await engine.lasting.whole(act(), name=f"cancel {key.stream_id}")

    async def adelete(
        self,
        stream_id: str,
        *,
        owner: Owners,
        tenant: str | None = None,
        epoch: str | None = None,
        request: HttpRequest | None = None,
    ) -> bool:
        """Remove the stream at once, whether it has ended or not; return whether it was there.

        Its producer stops, its readers end with `expired`. The owner and `epoch`: as for `cancel`.
        """
        address, owners = self._read(stream_id, tenant, owner)
        return await runtime.call(self._delete, address, owners, epoch, request)

    delete = sync_twin(adelete)

    async def _delete(
        self,
        address: StreamAddress,
        owners: tuple[Owner, ...],
        epoch: str | None,
        request: HttpRequest | None,
    ) -> bool:
        engine = get_engine(self.alias)
        found = await find(engine, address, owners, "delete", request, epoch=epoch)
        if found is None:
            return False
        key, info, owner = found

        async def act() -> bool:
            was_there = await engine.store.delete(key, epoch=info.epoch)
            await engine.notify(stream_deleted, key, owner, epoch=info.epoch, request=request)
            return was_there

        return await engine.lasting.whole(act(), name=f"delete {key.stream_id}")

    # A whole tenant, as its operators see it.

    async def arotate(self, *, tenant: str | None = None, purge_old: bool = False) -> int:
        """Start a new generation of the tenant and return it: nothing older can be reached.

        When this returns, no verb that starts later reaches an older stream, in any process;
        attached readers and producers end within a second. With `purge_old` the older streams are
        deleted, too. The database and the store have the change, or neither; raises `Unsaved` or
        `Unconfirmed` (`resumable_streams.control`) where only one of them may have it.
        """
        return await runtime.call(
            tenants.rotate, self.alias, self._in(tenant) or DEFAULT_TENANT, purge_old=purge_old
        )

    rotate = sync_twin(arotate)

    async def arevoke(self, *, owner: Owners, tenant: str | None = None) -> float:
        """Bar every stream that the owner has acquired so far; return the time of that mark.

        One write, however many streams there are. When this returns, nobody can resume any of
        them, in any process; attached readers and producers end within a second. New ones work.
        """
        owners = read_owners(owner)
        name = tenant_of(owner, self._in(tenant)) or DEFAULT_TENANT
        marks = [await runtime.call(revoke, self.alias, name, one) for one in owners]
        return max(marks)

    revoke = sync_twin(arevoke)

    async def aretire(
        self, *, ttl: float, tenant: str | None = None, existing: bool = False
    ) -> int:
        """Set the TTL (seconds) of streams that are acquired from now on; 0: the alias's again.

        With `existing`, streams that would live longer than `ttl` are shortened to it. Returns how
        many were. Saved as `arotate` saves.
        """
        name = self._in(tenant) or DEFAULT_TENANT
        return await runtime.call(tenants.retire, self.alias, name, ttl=ttl, existing=existing)

    retire = sync_twin(aretire)

    async def apurge(
        self,
        *,
        tenant: str | None = None,
        owner: Owners | None = None,
        generation: int | None = None,
        older_than: float | None = None,
    ) -> int:
        """Delete streams of the tenant that match all that is given; return how many there were.

        Running ones, too: their readers and producers end. `older_than` is seconds since the stream
        was acquired. The generation, the TTL and revocations of the tenant stay: revoke first, as
        an owner who is not revoked can start again. An interruption loses nothing; call it again.
        """
        names = (None,) if owner is None else read_owners(owner)
        in_tenant = self._in(tenant) if owner is None else tenant_of(owner, self._in(tenant))
        selection = Selection(
            tenant=in_tenant or DEFAULT_TENANT, generation=generation, older_than=older_than
        )
        each = [replace(selection, owner=name) for name in names]
        return sum([await runtime.call(tenants.purge, self.alias, one) for one in each])

    purge = sync_twin(apurge)

    async def aaudit(self, *, tenant: str | None = None) -> Inventory:
        """Count the streams, bytes, owners, states and ages of the tenant; change nothing.

        It looks at every stream of the tenant: seconds for 100,000. Owners are named by digest.
        """
        return await runtime.call(tenants.audit, self.alias, self._in(tenant) or DEFAULT_TENANT)

    audit = sync_twin(aaudit)

    async def adoctor(self) -> Observations:
        """Examine the project and the store of this alias, as `manage.py … doctor` does.

        Takes a few seconds, changes nothing, and raises nothing about what it finds. The messages
        are for people of the site: they name servers and settings, but no credentials.
        """
        return await runtime.call(doctor.examine, [self.alias])

    doctor = sync_twin(adoctor)

    # What a call names.

    def _in(self, tenant: str | None) -> str | None:
        """Return the tenant that a call means; raise ValueError for one that is not ours."""
        if self._tenant is None or tenant in (None, self._tenant):
            return self._tenant or tenant
        raise ValueError(f"These are the streams of tenant {self._tenant!r} alone.")

    def _read(
        self, stream_id: str, tenant: str | None, owner: Owners
    ) -> tuple[StreamAddress, tuple[Owner, ...]]:
        """Validate what a call names, before anything happens."""
        return StreamAddress(stream_id, tenant_of(owner, self._in(tenant))), read_owners(owner)

    def __repr__(self) -> str:
        tenant = "" if self._tenant is None else f" tenant={self._tenant}"
        return f"<StreamManager {self.alias}{tenant}>"


def _or_new(stream_id: str | None) -> str:
    return str(uuid.uuid4()) if stream_id is None else stream_id


async def _let_go(request: HttpRequest | None) -> None:
    if request is not None and asker.get() is None:  # a thread that waits for us has done so
        await let_go()


def _validate_offset(offset: object) -> int:
    if not isinstance(offset, int) or isinstance(offset, bool) or offset < 0:
        raise InvalidOffset
    return offset


def _at(offset: int, *, live: bool) -> Locate:
    async def locate(info: StreamInfo, peek: Peek) -> Start:
        if offset > info.size:
            raise InvalidOffset(info.size)
        return Start(offset=offset, live=live)

    return locate


def _peek(engine: Engine, found: Granted) -> Peek:
    """Return what reads stored bytes of this very incarnation; none where they are gone."""

    async def peek(offset: int, size: int) -> bytes:
        page = await engine.store.read(found.key, offset, size)
        return b"" if page is None or page.info.epoch != found.info.epoch else page.data

    return peek


streams = StreamManager()
"""The streams of the `default` alias."""

"""The choice of an operator on the operations page: a tenant, streams in it, and an act on them.

A POST names alias and tenant in full. Nothing is guessed for an act.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from django.contrib import messages
from django.core.exceptions import BadRequest
from django.http import HttpRequest, QueryDict
from django.utils.translation import gettext as _t
from django.utils.translation import gettext_lazy as _

from ..conf import get_aliases
from ..control import revoke
from ..exceptions import InvalidTenant
from ..identifiers import owner_digest, validate_tenant
from ..operating import tenants
from ..operating.live import look_at
from ..process.runtime import runtime
from ..types import Owner, StreamInfo, StreamKey
from .acting import Plan, Target
from .plans import cancel_one, cancelling, revoking, rotating

__all__ = ["ACTS", "PLANNERS", "Scope", "chosen_scope", "ticket_of"]

ACTS: Mapping[str, tuple[str, Any]] = {
    "cancel": ("resumable_streams.cancel_streamrecord", _("Cancel the streams")),
    "revoke": ("resumable_streams.revoke_streamrecord", _("Revoke the owners")),
    "rotate": ("resumable_streams.rotate_streamnamespace", _("Rotate the tenant")),
}
"""The permission and the words of each act: the same as on the lists of rows."""

TICKET = re.compile(r"([0-9]{1,15})\.([0-9a-f]{1,32})\.([A-Za-z0-9_.:-]{1,256})")
"""A stream in its tenant, as the box that selects it names it: generation, epoch, id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """The tenant that the page is about, and the term that is searched for there."""

    alias: str
    tenant: str
    term: str = ""
    cursor: str = ""

    def __str__(self) -> str:
        return f"{self.alias}/{self.tenant}"

    def query(self, **changes: str) -> str:
        """Return the address of this tenant, with parameters of its own."""
        query = QueryDict(mutable=True)
        query.update({"alias": self.alias, "tenant": self.tenant, **changes})
        return f"?{query.urlencode()}"


def chosen_scope(request: HttpRequest) -> Scope:
    """Return the tenant of an act; a request that does not name one is a bad request."""
    alias, tenant = request.GET.get("alias", ""), request.GET.get("tenant", "")
    try:
        validate_tenant(tenant)
    except InvalidTenant as error:
        raise BadRequest(str(error)) from None
    if alias not in get_aliases():
        raise BadRequest(_t("No alias has this name."))
    return Scope(alias=alias, tenant=tenant)


def ticket_of(info: StreamInfo) -> str:
    """Return the value of the box that selects a stream."""
    return f"{info.generation}.{info.epoch}.{info.stream_id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """A selected stream, as it is now; None: that incarnation is gone."""

    ticket: str
    key: StreamKey
    epoch: str
    info: StreamInfo | None

    @property
    def digest(self) -> str:
        return "" if self.info is None else owner_digest(self.info.owner)


def _chosen(scope: Scope, tickets: Sequence[str]) -> list[Chosen]:
    """Look at the selected streams in one batch; malformed tickets are left out."""
    parts = list(_parts(scope, tickets))
    infos = runtime.call_sync(look_at, scope.alias, [(key, epoch) for _, key, epoch in parts])
    return [
        Chosen(ticket=ticket, key=key, epoch=epoch, info=info)
        for (ticket, key, epoch), info in zip(parts, infos, strict=True)
    ]


def _parts(scope: Scope, tickets: Sequence[str]) -> Iterator[tuple[str, StreamKey, str]]:
    for ticket in dict.fromkeys(tickets):
        if match := TICKET.fullmatch(ticket):
            generation, epoch, stream_id = match.groups()
            key = StreamKey(tenant=scope.tenant, generation=int(generation), stream_id=stream_id)
            yield ticket, key, epoch


def _cancellation(request: HttpRequest, scope: Scope, tickets: Sequence[str]) -> Plan:
    chosen = _chosen(scope, tickets)
    return cancelling([_stream(request, scope, one) for one in chosen])


def _stream(request: HttpRequest, scope: Scope, one: Chosen) -> Target:
    arguments = {
        "stream_id": one.key.stream_id,
        "generation": one.key.generation,
        "epoch": one.epoch,
        "owner_digest": one.digest,
    }
    return Target(
        ticket=one.ticket,
        alias=scope.alias,
        tenant=scope.tenant,
        name=f"{scope}/{one.key.stream_id}",
        arguments=arguments,
        act=lambda said: cancel_one(request, scope.alias, one.info),
    )


def _revocation(request: HttpRequest, scope: Scope, tickets: Sequence[str]) -> Plan:
    """Plan for the owner of each selected stream, once, who is named by the digest."""
    infos = [(one.ticket, one.info) for one in _chosen(scope, tickets) if one.info]
    if not all(isinstance(info.owner, str) for _, info in infos):
        messages.warning(request, _t("Public streams have no owner to revoke: left out."))
    owners: dict[str, str] = {}
    for ticket, info in infos:
        if isinstance(info.owner, str):
            owners.setdefault(info.owner, ticket)
    return revoking([_owner(scope, owner, ticket) for owner, ticket in owners.items()])


def _owner(scope: Scope, owner: str, ticket: str) -> Target:
    digest = owner_digest(owner)
    return Target(
        ticket=ticket,
        alias=scope.alias,
        tenant=scope.tenant,
        name=f"{scope}: {digest}",
        arguments={"owner_digest": digest},
        act=partial(_revoke, scope, owner),
    )


def _revoke(scope: Scope, owner: Owner, said: dict[str, Any]) -> dict[str, int]:
    runtime.call_sync(revoke, scope.alias, scope.tenant, owner)
    return {"owners": 1}


def _rotation(request: HttpRequest, scope: Scope, tickets: Sequence[str]) -> Plan:
    target = Target(
        ticket=scope.tenant,
        alias=scope.alias,
        tenant=scope.tenant,
        name=str(scope),
        arguments={},
        act=partial(_rotate, scope),
    )
    return rotating([target])


def _rotate(scope: Scope, said: dict[str, Any]) -> dict[str, int]:
    return {"generation": runtime.call_sync(tenants.rotate, scope.alias, scope.tenant, **said)}


PLANNERS: Mapping[str, Callable[[HttpRequest, Scope, Sequence[str]], Plan]] = {
    "cancel": _cancellation,
    "revoke": _revocation,
    "rotate": _rotation,
}

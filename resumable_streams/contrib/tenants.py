"""The tenants with a label of their own in metrics: a bounded number, and none that is made up."""

from collections.abc import Mapping

__all__ = ["MOST_TENANTS", "OTHER", "TenantLabels"]

MOST_TENANTS = 1_000
OTHER = "(other)"  # which no tenant can be called


class TenantLabels:
    """The tenants that this process has seen a stream of, the first MOST_TENANTS of them.

    Names without a stream do not count, so made-up tenants add nothing to the metrics. All other
    tenants share the label OTHER.
    """

    def __init__(self) -> None:
        self._known: set[str] = set()

    def sums(self, streams: Mapping[str, int]) -> dict[str, int]:
        """Return numbers of streams by label, 0 for those without any now."""
        found = dict.fromkeys((*self._known, OTHER), 0)
        for tenant, number in streams.items():
            label = self.label(tenant)
            found[label] = found.get(label, 0) + number
        return found

    def label(self, tenant: str, *, has_stream: bool = True) -> str:
        """Return the label of a tenant; `has_stream` if that is known to have one."""
        if tenant in self._known:
            return tenant
        if not has_stream or len(self._known) >= MOST_TENANTS:
            return OTHER
        self._known.add(tenant)
        return tenant

"""What was tried, how often and what came of it, as the table of docs/security.md."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["ATTACKS", "HEAD", "Attack", "Report", "Tried"]

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "security.md"
BEGIN, END = "<!-- begin of the table -->", "<!-- end of the table -->"
HEAD = ("what is tried", "where", "how often", "what came of it")
WHERE = {
    "memory": "memory",
    "redis": "Redis",
    "valkey": "Valkey",
    "uvicorn": "uvicorn",
    "daphne": "daphne",
    "runserver": "runserver",
}

Tried = Callable[[int, str, Mapping[str, int]], None]
"""Say how often something was tried, what that was, and what came of it how often."""


@dataclass(frozen=True, slots=True)
class Attack:
    """One kind of what is tried, and the tests that do it."""

    name: str
    tests: tuple[str, ...]

    def has(self, nodeid: str) -> bool:
        return any(nodeid.startswith(one) for one in self.tests)


HERE = "tests/adversary"
ATTACKS = [
    Attack(
        "Any request: methods, paths, ids, positions, headers, cookies, bodies, clients that leave",
        (f"{HERE}/test_any_request.py::test_any_request",),
    ),
    Attack(
        "The same on a real server, over sockets", (f"{HERE}/test_any_request.py::test_a_real",)
    ),
    Attack(
        "Any request about what is missing, foreign, revoked, rotated away, deleted or elsewhere",
        (f"{HERE}/test_any_request.py::test_what_is_not_there",),
    ),
    Attack(
        "Callers who leave at any await of any verb, in any order of verbs",
        (f"{HERE}/test_cancelled_verbs.py",),
    ),
    Attack(
        "A cancellation at every await of every verb of a store",
        (f"{HERE}/test_cancelled_store_verbs.py",),
    ),
    Attack(
        "Two writes of a control key or a row at once, each with each",
        (f"{HERE}/test_two_at_once.py",),
    ),
    Attack("Two requests of one session at once", ("tests/setups/test_two_at_once.py",)),
    Attack("States that nobody can read", (f"{HERE}/test_poisoned_keys.py",)),
    Attack("A server without memory", (f"{HERE}/test_full_store.py",)),
    Attack(
        "A user with too few rights, and one with just enough",
        (f"{HERE}/test_few_rights.py", "tests/stores/test_rights.py"),
    ),
    Attack("A replica where a primary should be", (f"{HERE}/test_replica.py",)),
    Attack("Connections that are open, and silent for good", (f"{HERE}/test_black_holes.py",)),
    Attack(
        "Tenants, ids and owners that look like others, in any order of verbs",
        ("tests/pure/test_isolation.py",),
    ),
    Attack(
        "Sites: middleware, sessions, auth, mixins, decorators, forms, transactions, servers",
        ("tests/setups/",),
    ),
]
"""The first that has a test is the one it counts for."""


@dataclass
class Report:
    """Collect what the tests of one run have tried."""

    tried: dict[tuple[str, str], Counter[str]] = field(default_factory=dict)
    outcomes: dict[tuple[str, str], Counter[str]] = field(default_factory=dict)

    def put(self, nodeid: str, properties: Mapping[str, Any]) -> None:
        """Count a test that has passed: as what it says, or as one case."""
        attack = next((one for one in ATTACKS if one.has(nodeid)), None)
        if attack is None:
            return
        key = attack.name, _where(nodeid)
        times, what = properties.get("tried", (1, "cases"))
        self.tried.setdefault(key, Counter())[what] += times
        self.outcomes.setdefault(key, Counter()).update(properties.get("outcomes", {}))

    def _row(self, key: tuple[str, str]) -> list[str]:
        outcomes = sorted(self.outcomes[key].items(), key=lambda item: -item[1])
        came = ", ".join(f"{name}: {times:,}" for name, times in outcomes)
        often = ", ".join(f"{times:,} {what}" for what, times in self.tried[key].items())
        return [*key, often, came or "all held"]

    def lines(self) -> list[str]:
        names = [attack.name for attack in ATTACKS]
        keys = sorted(self.tried, key=lambda key: (names.index(key[0]), key[1]))
        rows = [list(HEAD), *map(self._row, keys)]
        lines = ["| " + " | ".join(row) + " |" for row in rows]
        return [lines[0], "|" + "---|" * len(HEAD), *lines[1:]]

    def write(self, page: Path = PAGE) -> None:
        before, _, rest = page.read_text("utf-8").partition(BEGIN)
        _, _, after = rest.partition(END)
        table = "\n".join([BEGIN, *self.lines(), END])
        page.write_text(before + table + after, encoding="utf-8")


def _where(nodeid: str) -> str:
    """Return the store or server of a case, as its name says."""
    case = set(nodeid.rpartition("[")[2].rstrip("]").split("-")) if nodeid.endswith("]") else set()
    return next((name for word, name in WHERE.items() if word in case), "-")

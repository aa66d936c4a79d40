"""The verbs of `manage.py resumable_streams`, one a module."""

from .audit import Audit
from .cancel import Cancel
from .doctor import Doctor
from .incidents import Incidents
from .list import List
from .purge import Purge
from .reap import Reap
from .records import Records
from .retire import Retire
from .revoke import Revoke
from .rotate import Rotate
from .tail import TailVerb
from .verb import Verb
from .worker import Work

__all__ = ["VERBS", "Verb"]

VERBS: dict[str, type[Verb]] = {
    verb.name: verb
    for verb in (
        Doctor,
        Audit,
        List,
        TailVerb,
        Purge,
        Rotate,
        Revoke,
        Cancel,
        Retire,
        Reap,
        Records,
        Incidents,
        Work,
    )
}

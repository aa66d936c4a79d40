"""What `manage.py resumable_streams` can do, one verb a module."""

from .audit import Audit
from .cancel import Cancel
from .purge import Purge
from .reap import Reap
from .retire import Retire
from .revoke import Revoke
from .rotate import Rotate
from .verb import Verb

__all__ = ["VERBS", "Verb"]

VERBS: dict[str, type[Verb]] = {
    verb.name: verb for verb in (Audit, Purge, Rotate, Revoke, Cancel, Retire, Reap)
}

"""The operator's pages: namespaces, records, and what operators did. No payload is ever shown.

    acting       what all pages share: actions that ask, act, and leave an IncidentAction
    namespaces   the tenants: what is written down of each, beside what is in force
    records      who streamed what, and what it is now
    incidents    what operators did

Records and incidents are never edited or deleted by hand: `manage.py resumable_streams records
clear` and `incidents clear` delete old ones. A store that does not answer is a message, not an
error page.
"""

from .incidents import IncidentActionAdmin
from .namespaces import StreamNamespaceAdmin
from .records import StreamRecordAdmin

__all__ = ["IncidentActionAdmin", "StreamNamespaceAdmin", "StreamRecordAdmin"]

"""The operator's pages: live streams, namespaces, records, acts. No payload is ever shown.

    live         the operations page, beside the records: live streams, and the last hour
    acting       shared by all pages: actions that ask, act, and leave an IncidentAction
    namespaces   the tenants: the row of each, beside the control in force
    records      each stream, its owner, and its present state
    incidents    the acts of operators

Records and incidents are never edited or deleted by hand: `manage.py resumable_streams records
clear` and `incidents clear` delete old ones. A store that does not answer is a message, not an
error page.
"""

from .incidents import IncidentActionAdmin
from .namespaces import StreamNamespaceAdmin
from .records import StreamRecordAdmin

__all__ = ["IncidentActionAdmin", "StreamNamespaceAdmin", "StreamRecordAdmin"]

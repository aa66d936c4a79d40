"""The operator's pages: namespaces, records, and operators' acts. No payload is ever shown.

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

"""The WSGI application of a project, in a process that drains when it is told to end.

    # wsgi.py
    from resumable_streams.wsgi import get_wsgi_application

    application = get_wsgi_application()

Without it a WSGI process drains when the interpreter exits, which is after its server has waited
for attached readers; and not at all where SIGTERM ends the process at once (`runserver`).
"""

from django.core import wsgi
from django.core.handlers.wsgi import WSGIHandler

from .engine.validation import refuse_wrong_settings
from .process.shutdown import let_threads_hook_signals

__all__ = ["get_wsgi_application"]


def get_wsgi_application() -> WSGIHandler:
    """Return Django's WSGI application; call it in the main thread, as servers import modules.

    Raises InvalidStoreError for settings that cannot work.
    """
    application = wsgi.get_wsgi_application()
    refuse_wrong_settings()
    let_threads_hook_signals()
    return application

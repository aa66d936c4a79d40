"""The applications that a server of a site imports."""

from resumable_streams.asgi import get_asgi_application
from resumable_streams.wsgi import get_wsgi_application

asgi = get_asgi_application()
wsgi = get_wsgi_application()

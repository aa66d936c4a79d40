"""The pages in React of `example_project/frontend`, once they are built."""

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET


@require_GET
@never_cache
def page(request: HttpRequest, name: str = "") -> HttpResponse:
    """Show a page; its script reads from the address which one it is."""
    return HttpResponse((settings.REACT_BUILD / "index.html").read_bytes())

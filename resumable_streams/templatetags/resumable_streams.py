"""`{% resumable_stream %}`: the text or HTML of a stream, on a page without a script of its own."""

from typing import Any

from django import template
from django.forms.utils import flatatt
from django.middleware.csrf import get_token
from django.template import Context, TemplateSyntaxError
from django.templatetags.static import static
from django.urls import NoReverseMatch, reverse
from django.utils.functional import Promise
from django.utils.html import format_html
from django.utils.safestring import SafeString

__all__ = ["register", "resumable_stream"]

register = template.Library()

CHOICES = {"method": ("get", "post"), "format": ("text", "html")}
FALLBACK = "This part of the page needs JavaScript."


@register.simple_tag(takes_context=True)
def resumable_stream(
    context: Context,
    source: Any,
    *,
    method: str = "get",
    format: str = "text",  # noqa: A002
    target: str = "",
    replace: bool = False,
    id: str = "",  # noqa: A002
    fallback: str = FALLBACK,
    nonce: Any = None,
) -> SafeString:
    """Render the element `<resumable-stream>`, with its script, for an address or a stream.

    `method="post"` starts a stream at the address; it needs a request in the context, for the CSRF
    token. `format="html"` inserts the fragments of a stream of the format `html`. `target` is the
    selector of another element to fill; with `replace` each item takes the place of the one before.
    `fallback` is shown without JavaScript. `nonce` is that of the page's Content-Security-Policy;
    by default `csp_nonce` of the context or the request.
    """
    _check(method=method, format=format)
    attributes = {
        "src": _address(source),
        "id": id or None,
        "method": "post" if method == "post" else None,
        "format": "html" if format == "html" else None,
        "target": target or None,
        "replace": bool(replace),
    }
    return format_html(
        "{}<script{}></script><resumable-stream{}><noscript>{}</noscript></resumable-stream>",
        _csrf_input(context) if method == "post" else "",
        flatatt(_script(context, nonce)),
        flatatt(attributes),
        fallback,
    )


def _check(**given: str) -> None:
    for name, value in given.items():
        if value not in CHOICES[name]:
            choices = " or ".join(f'"{choice}"' for choice in CHOICES[name])
            raise TemplateSyntaxError(
                f"resumable_stream: {name} is {value!r}, and has to be {choices}."
            )


def _address(source: Any) -> str:
    stream_id = getattr(source, "stream_id", None)
    if stream_id is None:
        if not isinstance(source, str | Promise) or not str(source):
            kind = type(source).__name__ if source else "empty"
            raise TemplateSyntaxError(
                f"resumable_stream: the first argument is {kind}. Give it the address of a stream, "
                f"or the result of `streams.run` or `streams.status`."
            )
        return str(source)
    try:
        return reverse("resumable_streams:stream", args=[stream_id])
    except NoReverseMatch as error:
        raise TemplateSyntaxError(
            "resumable_stream: the project does not include resumable_streams.urls. Do so, or give "
            "the address in place of the stream."
        ) from error


def _script(context: Context, nonce: Any) -> dict[str, str | None]:
    if nonce is None:
        request = getattr(context, "request", None)
        nonce = context.get("csp_nonce", getattr(request, "csp_nonce", None))
    src = static("resumable_streams/element.js")
    return {"type": "module", "src": src, "nonce": None if nonce is None else str(nonce)}


def _csrf_input(context: Context) -> SafeString:
    request = getattr(context, "request", None)
    token = context.get("csrf_token") if request is None else get_token(request)
    if not token:
        raise TemplateSyntaxError(
            'resumable_stream: method="post" needs a CSRF token. Render the template with the '
            "request."
        )
    return format_html('<input type="hidden" name="csrfmiddlewaretoken" value="{}">', token)

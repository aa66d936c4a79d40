"""The authenticators of REST framework and ninja that clients with tokens use, from the addresses.

Read from what the views of a site bear; neither framework is imported. What a browser sends by
itself is no token: sessions and other cookies, and Basic.
"""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any

__all__ = ["token_schemes"]

OF_BROWSERS = ("SessionAuthentication", "BasicAuthentication")


def token_schemes(patterns: Iterable[Any]) -> dict[str, list[str]]:
    """Return the names of the schemes in use, for each framework that has some."""
    patterns = list(patterns)
    found = {"REST framework": set(_of_rest(patterns)), "ninja": set(_of_ninja(patterns))}
    return {framework: sorted(names) for framework, names in found.items() if names}


def _of_rest(patterns: Iterable[Any]) -> Iterator[str]:
    for pattern in patterns:
        view = getattr(pattern, "callback", None)
        of_class = getattr(getattr(view, "cls", None), "authentication_classes", ())
        initial = getattr(view, "initkwargs", {})
        for one in initial.get("authentication_classes", of_class):
            if not any(_is_of_browsers(base) for base in one.__mro__):
                yield one.__name__


def _is_of_browsers(base: type) -> bool:
    return base.__module__ == "rest_framework.authentication" and base.__name__ in OF_BROWSERS


def _of_ninja(patterns: Iterable[Any]) -> Iterator[str]:
    for pattern in patterns:
        keywords = getattr(getattr(pattern, "callback", None), "keywords", {})
        if getattr(pattern, "name", None) == "api-root" and "api" in keywords:
            yield from _shown_by(keywords["api"])


def _shown_by(api: Any) -> Iterator[str]:
    """Yield the schemes of the schema of an API that are no cookies and not Basic."""
    schema: dict[str, Any] = {}
    with suppress(Exception):  # a fault of the API, which is not ours to tell
        schema = api.get_openapi_schema(path_prefix="")
    for name, scheme in schema.get("components", {}).get("securitySchemes", {}).items():
        if scheme.get("in") != "cookie" and scheme.get("scheme") != "basic":
            yield name

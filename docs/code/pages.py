from django.shortcuts import render
from django.urls import include, path
from mysite.answers import words

from resumable_streams import streams
from resumable_streams.owners import get_identity


async def page(request, template):
    """Start an answer, or join the one that runs, and show a page that follows it."""
    identity = await get_identity(request, using="default", acquire=True)
    stream = await streams.arun(
        None,
        lambda: words("Why?"),
        owner=identity,
        slot="answer",
        attrs={"format": "html"},
        request=request,
    )
    return render(request, template, {"stream": stream})


urlpatterns = [
    path("element/", page, {"template": "element.html"}),
    path("event-source/", page, {"template": "event_source.html"}),
    path("htmx/", page, {"template": "htmx.html"}),
    path("streams/", include("resumable_streams.urls")),
]

"""The EventSource of a browser: it comes back when it is told to, and stops at the end."""

import itertools
from functools import partial
from typing import Any

import pytest

from tests.acceptance import conftest as acceptance

empty_database, new_site = acceptance.empty_database, acceptance.new_site
recording = acceptance.recording
site, site_environment = acceptance.site, acceptance.site_environment

COUNT = 20

FOLLOW = """
async ([id, count, end]) => {
    const query = `format=sse&count=${count}&every=0.1&id=${id}&end_event=${end}`;
    const started = await fetch(`/produce?${query}`, { method: "POST" });
    await started.body.cancel();
    const heard = [];
    const source = new EventSource(`/streams/${id}/`);
    source.onmessage = (event) => heard.push(event.data);
    source.addEventListener("done", () => heard.push("done"));
    const errors = [];
    await new Promise((resolve) => {
        source.onerror = () => {
            errors.push(performance.now());
            if (source.readyState === EventSource.CLOSED) resolve();
        };
    });
    return [heard, errors];
}
"""


@pytest.mark.parametrize("end", ["", "none"])
def test_an_event_source_gets_all_of_it_in_several_bodies_and_stops(
    site: Any, redis_url: str, visitor: Any, end: str
):
    module = "tests.acceptance.frames_site"
    start = partial(site, "uvicorn", DJANGO_SETTINGS_MODULE=module, REDIS_URL=redis_url)
    page = visitor.new_page()
    page.goto(f"{start(MAX_RESPONSE_SECONDS='1').url}/elsewhere")
    heard, errors = page.evaluate(FOLLOW, [f"s-{end}", COUNT, end])
    words = [f"{number} " for number in range(COUNT)]
    assert heard == [*words, *([] if end else ["done"])]
    # One body and a pause of one to three seconds after another; the last request is the 204.
    pauses = [after - before for before, after in itertools.pairwise(errors)]
    assert len(pauses) >= 2
    assert all(pause >= 1_000 for pause in pauses)

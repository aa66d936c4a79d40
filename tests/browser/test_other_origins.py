"""A page of one origin, and streams of another: what a browser lets its scripts do."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.servers import launch

SETTINGS = "tests.frameworks.origins_settings"
APPLICATION = "resumable_streams.asgi:get_asgi_application"

CUT_AND_RESUME = r"""async ({base, headers}) => {
    const started = await fetch(`${base}/ask/`, {
        method: "POST", headers: {...headers, "Idempotency-Key": "1"},
    });
    const shown = Object.fromEntries(started.headers);
    const reader = started.body.getReader(), decoder = new TextDecoder();
    let head = "";
    while (!/^id: .+\n\n/m.test(head)) head += decoder.decode((await reader.read()).value);
    await reader.cancel();
    const address = `${base}/streams/${started.headers.get("X-Resumable-Stream-Id")}/`;
    const seen = [...head.matchAll(/^id: (.+)$/mg)].pop()[1];
    const resumed = await fetch(address, {headers: {...headers, "Last-Event-ID": seen}});
    const rest = await resumed.text();
    const cancelled = await fetch(`${address}cancel/`, {method: "POST", headers});
    const deleted = await fetch(address, {method: "DELETE", headers});
    return {shown, text: head + rest, statuses: [cancelled.status, deleted.status]};
}"""

REFUSED = """async ({base, headers}) => {
    try {
        await fetch(`${base}/ask/`, {method: "POST", headers});
        return "";
    } catch (error) {
        return error.name;
    }
}"""


@pytest.fixture
def page(visitor: Any, tmp_path: Path) -> Iterator[tuple[Any, str]]:
    """Open the page at `localhost`; yield it, and where the streams are."""
    environment = {"DJANGO_SETTINGS_MODULE": SETTINGS}
    command = f"-m uvicorn --factory --port {{port}} {APPLICATION}"
    with launch(command, environment, tmp_path / "log") as server:
        opened = visitor.new_page()
        opened.goto(f"{server.url.replace('127.0.0.1', 'localhost')}/page/")
        yield opened, server.url


def test_a_script_with_a_token_starts_cuts_and_resumes(page: tuple[Any, str]):
    opened, base = page
    headers = {"Authorization": "Bearer ada"}
    done = opened.evaluate(CUT_AND_RESUME, {"base": base, "headers": headers})
    words = [line[6:] for line in done["text"].splitlines() if line.startswith("data: ")]
    assert words[:4] == ["to", "be", "or", "not"]
    assert {"x-resumable-stream-id", "x-resumable-stream-epoch", "location"} <= set(done["shown"])
    assert done["statuses"] == [202, 204]


def test_a_foreign_page_cannot_even_ask(page: tuple[Any, str]):
    opened, base = page
    opened.goto(f"{base}/page/")  # another origin than the one that is allowed
    foreign = base.replace("127.0.0.1", "localhost")
    headers = {"Authorization": "Bearer ada"}
    assert opened.evaluate(REFUSED, {"base": foreign, "headers": headers}) == "TypeError"

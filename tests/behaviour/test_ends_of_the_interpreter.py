"""The interpreter ends, whatever the threads of receivers still hold."""

import subprocess
import sys

import pytest

SCRIPT = """
import django
from django.conf import settings

settings.configure(
    SECRET_KEY="x",
    INSTALLED_APPS=["resumable_streams"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": %r}},
    RESUMABLE_STREAMS={"default": {}},
)
django.setup()
from django.db import connection
from resumable_streams import streams
from resumable_streams.signals import reader_opened

def receiver(**named):
    connection.set_autocommit(%s)
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")

reader_opened.connect(receiver)
print(list(streams.run("chat", [b"a"], owner="me")))
"""


@pytest.mark.lengthy
@pytest.mark.parametrize(
    ("database", "autocommit"),
    [(":memory:", True), ("site.sqlite3", False)],
    ids=["a database in memory, which Django never closes", "a transaction that nobody ends"],
)
def test_what_a_receiver_left_open_does_not_keep_the_process(
    tmp_path, database: str, autocommit: bool
):
    code = SCRIPT % (database, autocommit)
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=40
    )
    assert (run.returncode, run.stdout) == (0, "[b'a']\n"), run.stderr

"""A real nginx, with a prefix of its own and the locations of a test."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from example_project.private_redis import free_port
from tests.tools.serving import until_it_answers

from .blocks import documented

__all__ = ["BLOCKS", "nginx"]

PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin"

CONFIGURATION = """\
daemon off;
{user}
worker_processes 1;
pid nginx.pid;
error_log error.log;
events {{}}
http {{
    access_log off;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    gzip on;
    gzip_types *;
    upstream site {{ {servers} }}
    server {{
        listen 127.0.0.1:{port};
        {block}
    }}
}}
"""


BLOCKS = {
    # All but the name of the host, which Django asks for, as nginx comes.
    "defaults": "location / { proxy_pass http://127.0.0.1:8000; proxy_set_header Host $host; }",
    "documented": documented("nginx"),
}


@contextmanager
def nginx(*servers: str, block: str, folder: Path) -> Iterator[str]:
    """Run nginx before the first server; the others are for when that one does not answer."""
    found = shutil.which("nginx", path=PATH)
    assert found, "No nginx: install it, as with `apt-get install nginx-light`."
    port = free_port()
    (folder / "nginx.conf").write_text(_configuration(servers, BLOCKS[block], port))
    errors = folder / "error.log"
    process = subprocess.Popen([found, "-p", str(folder), "-c", "nginx.conf", "-e", str(errors)])
    try:
        until_it_answers(process, f"http://127.0.0.1:{port}", errors)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(timeout=15)


def _configuration(servers: tuple[str, ...], block: str, port: int) -> str:
    first, *others = [server.removeprefix("http://") for server in servers]
    return CONFIGURATION.format(
        user="user root;" if os.geteuid() == 0 else "",  # or it could not write into our folder
        servers=" ".join([f"server {first};", *(f"server {host} backup;" for host in others)]),
        port=port,
        block=block.replace("http://127.0.0.1:8000", "http://site"),
    )

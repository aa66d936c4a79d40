"""Run the benchmarks: `python -m tests.benchmarks [row …] [--rounds N] [--json FILE]`.

`python -m tests.benchmarks curves [name …]` measures the cost curves in their place, and writes
plots and a table to a folder.
"""

import argparse
import json
import os
import platform
import sys
import uuid
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

import django
from redis import Redis

from example_project.private_redis import private_server

COLUMNS = ("ours", "bare", "peer")


def _arguments(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks")
    parser.add_argument("rows", nargs="*", help="names of rows; without one: all")
    parser.add_argument("--rounds", type=int, default=3, help="repeat each row (default: 3)")
    parser.add_argument("--scale", type=float, default=1.0, help="do less: 0.05 is a quick look")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, too")
    parser.add_argument(
        "--only", nargs="+", choices=COLUMNS, default=COLUMNS, help="whom to measure; default: all"
    )
    parser.add_argument(
        "--folder", type=Path, default=Path("docs/curves"), help="of curves; default: docs/curves"
    )
    parser.add_argument("--redis-url", help="a server to use; without it: a private one")
    return parser.parse_args(argv)


def _run(arguments: argparse.Namespace) -> None:
    from .registry import measure, table
    from .rows import ROWS

    unknown = set(arguments.rows) - ROWS.keys()
    if unknown:
        sys.exit(f"No such row: {', '.join(sorted(unknown))}. Known: {', '.join(ROWS)}.")
    figures = []
    for name in arguments.rows or ROWS:
        print(f"{name} …", file=sys.stderr, flush=True)
        figures += measure(
            ROWS[name], arguments.only, rounds=arguments.rounds, scale=arguments.scale
        )
    print(f"{_place()}\n{table(figures)}")
    if arguments.json:
        answer = {"place": _place(), "figures": [figure.as_dict() for figure in figures]}
        arguments.json.write_text(json.dumps(answer, indent=2) + "\n")


def _draw(arguments: argparse.Namespace) -> None:
    from .curves import CURVES, draw

    names = arguments.rows[1:]
    unknown = set(names) - {curve.name for curve in CURVES}
    if unknown:
        sys.exit(f"No such curve: {', '.join(sorted(unknown))}.")
    draw(names, arguments.folder, scale=arguments.scale, place=_place())
    print(arguments.folder)


def _place() -> str:
    with Redis.from_url(os.environ["BENCH_REDIS_URL"]) as server:
        found = server.info("server")
    name = found.get("server_name", "redis")
    version = found.get(f"{name}_version", found["redis_version"])
    return (
        f"{os.cpu_count()} cores, {name} {version}, Python {platform.python_version()}, "
        f"Django {django.__version__}"
    )


def _remove_keys(url: str, prefix: str) -> None:
    with Redis.from_url(url) as server:
        for key in server.scan_iter(match=f"{prefix}:*", count=1_000):
            server.unlink(key)


def main(argv: Sequence[str]) -> None:
    arguments = _arguments(argv)
    server = nullcontext(arguments.redis_url) if arguments.redis_url else private_server()
    with server as url:
        prefix = f"bench-{uuid.uuid4().hex}"
        os.environ |= {
            "BENCH_REDIS_URL": url,
            "BENCH_KEY_PREFIX": prefix,
            "DJANGO_SETTINGS_MODULE": "tests.benchmarks.settings",
        }
        django.setup()
        try:
            (_draw if arguments.rows[:1] == ["curves"] else _run)(arguments)
        finally:
            _remove_keys(url, prefix)


if __name__ == "__main__":
    main(sys.argv[1:])

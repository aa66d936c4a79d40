"""Run it: `python -m tests.soak [--minutes N] [--streams N] [--server KIND]`."""

import argparse
import asyncio
import sys

from .soak import Plan, soak


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.soak")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--streams", type=int, default=500, help="at a time (default: 500)")
    parser.add_argument("--server", default="uvicorn", help="default: uvicorn")
    arguments = parser.parse_args()
    plan = Plan(arguments.server, arguments.minutes * 60, arguments.streams)
    outcome = asyncio.run(soak(plan, say=lambda text: print(text, flush=True)))
    print(outcome)
    sys.exit(bool(outcome.complaints()))


if __name__ == "__main__":
    main()

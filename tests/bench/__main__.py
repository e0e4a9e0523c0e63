"""Measures what Yumen costs and how fast it is: `python -m tests.bench [topic …] [--size 0.1]`.

Without a topic all run but `scale`. At the end every figure stands beside what is promised of it,
and the exit status is 1 if a promise is broken.
"""

import argparse
import importlib
import sys

from tests.bench.report import Figure, console, verdict

TOPICS = {
    "audit": "many writers append to one chain of the audit log",
    "fairness": "a tenant that asks for ten times its limit, beside a quiet one",
    "gateway": "AI calls, plain calls and streams, beside bare nginx",
    "limits": "eight nodes spend one limit",
    "metrics": "read the metrics of a node that knows 10,000 services and tenants",
    "propagation": "from a commit to every gateway worker obeying it",
    "router": "find a route at many hosts with many routes, beside few",
    "sign_in": "sign in while somebody's password is guessed",
    "streams": "chunks of five hundred open streams, beside bare nginx",
    "tenants": "list many tenants by pages",
    "usage": "take usage in and sum it up",
}
BY_NAME = {
    "scale": "a hundred thousand tenants beside a thousand (a quarter of an hour, 8 GB of memory)",
}
EVERY = TOPICS | BY_NAME


def main() -> int:
    """Run the topics asked for; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench",
        description=__doc__,
        epilog="\n".join(f"{name:12} {what}" for name, what in EVERY.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("topics", nargs="*", metavar="topic", choices=[*EVERY, []])
    parser.add_argument("--size", type=float, default=1.0, help="do that share of the work")
    options = parser.parse_args()
    figures: list[Figure] = []
    for topic in options.topics or TOPICS:
        console.rule(f"{topic}: {EVERY[topic]}")
        figures += importlib.import_module(f"tests.bench.{topic}").bench(options.size)
    return verdict(figures)


if __name__ == "__main__":
    sys.exit(main())

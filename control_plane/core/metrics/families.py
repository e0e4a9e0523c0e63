"""Makes Prometheus' metrics from what is documented of them, and their text."""

import os

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, multiprocess

from control_plane.core.figures import Family

SHARED_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
"""Names the folder through which processes that serve one port count together (`serving.py`)."""

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds of the buckets of a duration."""

# Whenever a counter began would be a metric of its own.
prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]


def counter(family: Family, registry: CollectorRegistry) -> Counter:
    """Return a number that only rises."""
    return Counter(family.name, family.meaning, family.labels, registry=registry)


def gauge(family: Family, registry: CollectorRegistry) -> Gauge:
    """Return a level; that of several processes is their sum."""
    return Gauge(
        family.name,
        family.meaning,
        family.labels,
        registry=registry,
        multiprocess_mode="livesum",
    )


def histogram(family: Family, registry: CollectorRegistry) -> Histogram:
    """Return a distribution of seconds."""
    return Histogram(family.name, family.meaning, family.labels, registry=registry, buckets=SECONDS)


def text_of(registry: CollectorRegistry) -> bytes:
    """Return all metrics of *registry*, as Prometheus takes them."""
    if SHARED_FOLDER in os.environ:
        registry = CollectorRegistry()
        multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return prometheus_client.generate_latest(registry)

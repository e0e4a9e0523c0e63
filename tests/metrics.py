"""Reads metrics as Prometheus would, and holds them against what is documented."""

import re
import subprocess
from collections.abc import Mapping
from typing import Any

import requests
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from control_plane.core.root import project_root

ROW = re.compile(r"^\| `(yumen_\w+)` \| (\w+) \| ([^|]*) \|", re.MULTILINE)
LABEL_VALUE = re.compile(r"[A-Za-z0-9_:./<>+ -]{1,100}")


def read(url: str) -> str:
    """Return what a process tells at *url*."""
    answer = requests.get(url, timeout=20)
    assert answer.status_code == 200, answer.text
    assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    return answer.text


def answers(url: str) -> bool:
    """Return whether something answers there."""
    try:
        return requests.get(url, timeout=2).ok
    except requests.RequestException:
        return False


def families(text: str) -> dict[str, Metric]:
    """Return the metrics in *text* by their full names."""
    found: dict[str, Metric] = {}
    for family in text_string_to_metric_families(text):
        name = f"{family.name}_total" if family.type == "counter" else family.name
        assert name not in found, f"{name} stands there twice"
        found[name] = family
    return found


def value(text: str, sample: str, **labels: str) -> float | None:
    """Return the value of one sample; None when it is not there."""
    for family in text_string_to_metric_families(text):
        for found in family.samples:
            if found.name == sample and found.labels == labels:
                return float(found.value)
    return None


def documented(block: str) -> dict[str, tuple[str, set[str]]]:
    """Return name to type and labels of the table *block* in docs/metrics.md."""
    page = (project_root() / "docs" / "metrics.md").read_text()
    part = page.split(f"<!-- generated: {block} -->")[1].split("<!-- end -->")[0]
    return {
        name: (kind, set(re.findall(r"`(\w+)`", labels)))
        for name, kind, labels in ROW.findall(part)
    }


def refuse_wrong(text: str, block: str, secrets: Mapping[str, Any] | None = None) -> None:
    """Fail where *text* is not what Prometheus takes, is not as documented, or tells a secret."""
    judged = subprocess.run(
        ["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False
    )
    assert (judged.returncode, judged.stderr) == (0, ""), judged.stderr
    found, told = families(text), documented(block)
    assert found.keys() - told.keys() == set(), "not documented"
    assert told.keys() - found.keys() == set(), "documented, but nobody tells it"
    for name, family in found.items():
        kind, labels = told[name]
        assert family.type == kind, name
        for sample in family.samples:
            assert sample.labels.keys() - {"le"} == labels, name
            for label, text_of in sample.labels.items():
                assert LABEL_VALUE.fullmatch(text_of), f"{name}: {label}={text_of!r}"
    for what, secret in (secrets or {}).items():
        assert str(secret) not in text, f"tells {what}"

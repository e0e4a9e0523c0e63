"""Degradation rules in force at a node under test."""

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import requests

from control_plane.core.signals import Signals
from tests.integration.gateway.conftest import HOST, Node
from tests.stack import until

HEADER = "X-Yumen-Degraded"
PROBE = "probe"
NOBODY = 9
"""A port on which nobody listens."""


def rule(action: str, name: str = "ailing", **parameters: Any) -> dict[str, Any]:
    """Return a rule for everybody's calls."""
    return {
        "id": str(uuid.uuid4()),
        "name": name,
        "tenant": None,
        "action": action,
        "parameters": parameters,
    }


def answer(body: str, status: int = 200, kind: str = "text/plain") -> dict[str, Any]:
    """Return a rule by which nobody is called."""
    static = {"status": status, "contentType": kind, "body": body}
    return rule("fallback", answer=static)


@dataclass
class Degradations:
    """Publishes rules and the signals by which they are in force."""

    node: Node

    def __post_init__(self) -> None:
        """Take the node's Redis, and an id for the model that is asked what the node has heard."""
        self.signals = Signals(self.node.gateway.client, "worker")
        self.probe = str(uuid.uuid4())

    def publish(self, services: Mapping[str, list[dict[str, Any]]]) -> None:
        """Publish the rules of services, none of which is in force by that."""
        rules = {
            service: {"rules": rules} if rules else None for service, rules in services.items()
        }
        self.node.gateway.publish({"degradations": rules})

    def begin(self, service: str, *rules: dict[str, Any], seconds: float = 60) -> None:
        """Publish the rules of a service, put all in force, and wait until the node knows it."""
        self.publish({service: list(rules)})
        for each in rules:
            self.signal(each, seconds)
        self.wait_until_heard()

    def signal(self, one: Mapping[str, Any], seconds: float) -> None:
        """Say that a rule is in force for the next seconds; 0 ends it."""
        self.signals.publish("degradation", one["id"], {}, seconds)

    def wait_until_heard(self) -> None:
        """Wait until the node has heard every signal so far: they come in their order."""
        node, last = self.node, answer("heard")
        model = {**node.documents()["models"][node.model], "name": PROBE}
        model["endpoint"] = {**model["endpoint"], "port": NOBODY}
        tenant = node.tenant_document()
        tenant["models"] |= self.node.gateway.publisher.documents["tenants"][node.tenant]["models"]
        tenant["models"][PROBE] = {**tenant["models"]["m"], "model": self.probe}
        node.gateway.publish(
            {
                "models": {self.probe: model},
                "tenants": {node.tenant: tenant},
                "degradations": {f"model:{self.probe}": {"rules": [last]}},
            }
        )
        self.signal(last, 60)
        until(lambda: self._ask_probe().text == "heard", "the node hears signals", 10)

    def _ask_probe(self) -> requests.Response:
        body = json.dumps({"model": PROBE, "messages": []})
        found: requests.Response = self.node.gateway.call(
            "POST", "/v1/chat/completions", HOST, key=self.node.key, data=body
        )
        return found

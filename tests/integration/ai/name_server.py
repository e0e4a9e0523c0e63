"""Lets a running gateway take its names from a DNS server of the test's own."""

import json
import signal
from pathlib import Path

from tests.gateway import NginxServer
from tests.stack import until


def use_name_server(gateway: NginxServer, port: int, folder: Path) -> None:
    """Let a running gateway take names from the server on *port* only, by a reload."""
    resolv_conf, hosts = folder / "resolv.conf", folder / "hosts"
    resolv_conf.write_text(f"nameserver 127.0.0.1:{port}\nsearch cluster.test\n")
    hosts.write_text("# no names here\n127.0.0.1 hosts-file.test # but this\n")
    file = gateway.prefix / "node.json"
    node = json.loads(file.read_text())
    node |= {"resolv_conf": str(resolv_conf), "hosts_file": str(hosts)}
    file.write_text(json.dumps(node))
    before = set(gateway.workers())
    assert gateway.process is not None
    gateway.process.send_signal(signal.SIGHUP)
    until(lambda: gateway.workers() and not before & set(gateway.workers()), "new workers serve")

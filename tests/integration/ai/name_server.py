"""A DNS server whose records a test changes while it runs."""

import json
import signal
import socket
import threading
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset

from tests.gateway import NginxServer
from tests.stack import until


@dataclass
class NameServer:
    """Answers over UDP from `records`: (name, type) to (TTL, values). `is_silent`: not at all."""

    records: dict[tuple[str, str], tuple[int, list[str]]] = field(default_factory=dict)
    is_silent: bool = False
    asked: Counter[str] = field(default_factory=Counter)

    def __enter__(self) -> Self:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._socket.close()

    def _serve(self) -> None:
        while True:
            try:
                data, client = self._socket.recvfrom(4096)
            except OSError:
                return
            query = dns.message.from_wire(data)
            self.asked[str(query.question[0].name).rstrip(".")] += 1
            if not self.is_silent:
                self._socket.sendto(self._answer(query).to_wire(), client)

    def _answer(self, query: dns.message.Message) -> dns.message.Message:
        response = dns.message.make_response(query)
        response.flags |= dns.flags.RA
        name = str(query.question[0].name).rstrip(".")
        kind = dns.rdatatype.to_text(query.question[0].rdtype)
        if not any(known == name for known, _ in self.records):
            response.set_rcode(dns.rcode.NXDOMAIN)
        while alias := self.records.get((name, "CNAME")):
            response.answer.append(
                dns.rrset.from_text(f"{name}.", alias[0], "IN", "CNAME", *alias[1])
            )
            name = alias[1][0].rstrip(".")
        if found := self.records.get((name, kind)):
            response.answer.append(dns.rrset.from_text(f"{name}.", found[0], "IN", kind, *found[1]))
        return response


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

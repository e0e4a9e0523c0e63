"""A DNS server on loopback that answers what a test told it."""

import socketserver
import threading
from collections import Counter
from collections.abc import Mapping
from types import TracebackType
from typing import Self

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset


class DnsServer:
    """Answers `records`, which may change at any time; every other name does not exist.

    `ttl` is how many seconds answers may be kept; while `is_silent`, none is given; while it
    `fails`, all it says is SERVFAIL.
    """

    def __init__(self, records: Mapping[tuple[str, str], list[str]] | None = None) -> None:
        self.records = dict(records or {})
        self.ttl = 300
        self.is_silent = False
        self.fails = False
        self.asked: Counter[str] = Counter()
        outer = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                data, socket = self.request
                query = dns.message.from_wire(data)
                outer.asked[outer.name_in(query)] += 1
                if not outer.is_silent:
                    socket.sendto(outer.answer(query).to_wire(), self.client_address)

        self._server = socketserver.ThreadingUDPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self.port: int = self._server.server_address[1]
        self.address = f"127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @staticmethod
    def name_in(query: dns.message.Message) -> str:
        """Return the name that is asked for."""
        return query.question[0].name.to_text(omit_final_dot=True).lower()

    def answer(self, query: dns.message.Message) -> dns.message.Message:
        """Return the answer to one question, aliases followed."""
        response = dns.message.make_response(query)
        response.flags |= dns.flags.RA
        if self.fails:
            response.set_rcode(dns.rcode.SERVFAIL)
            return response
        name = self.name_in(query)
        kind = dns.rdatatype.to_text(query.question[0].rdtype)
        if not any(known == name for known, _ in self.records):
            response.set_rcode(dns.rcode.NXDOMAIN)
        while alias := self.records.get((name, "CNAME")):
            response.answer.append(dns.rrset.from_text(f"{name}.", self.ttl, "IN", "CNAME", *alias))
            name = alias[0].rstrip(".")
        if found := self.records.get((name, kind)):
            response.answer.append(dns.rrset.from_text(f"{name}.", self.ttl, "IN", kind, *found))
        return response

"""The demo: a tenant to try Yumen with, and the upstream that answers it."""

from control_plane.demo.record import DemoRecord, load_record, save_record, write_private
from control_plane.demo.tenant import AdminClient, DemoError, SignInError, Upstream, make_demo

__all__ = [
    "AdminClient",
    "DemoError",
    "DemoRecord",
    "SignInError",
    "Upstream",
    "load_record",
    "make_demo",
    "save_record",
    "write_private",
]

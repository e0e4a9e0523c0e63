"""Which signals mean stop."""

import os
import signal
from collections.abc import Iterator

import pytest

from control_plane.launcher.stopping import StopSignals


@pytest.fixture
def nohup() -> Iterator[None]:
    former = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    yield
    signal.signal(signal.SIGHUP, former)


def test_each_signal_counts_and_the_former_handlers_return() -> None:
    former = signal.getsignal(signal.SIGTERM)
    with StopSignals() as signals:
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
        assert signals.count == 2
    assert signal.getsignal(signal.SIGTERM) == former


def test_a_closed_terminal_does_not_end_what_nohup_started(nohup: None) -> None:
    with StopSignals() as signals:
        os.kill(os.getpid(), signal.SIGHUP)
        assert signals.count == 0
    assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN

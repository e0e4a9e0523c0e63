"""How long a program that dies waits before it starts again."""

from pathlib import Path

import pytest

from control_plane.launcher.child import (
    MAX_DELAY_SECONDS,
    YOUNG_SECONDS,
    Run,
    follow,
    read_record,
    write_record,
)


def test_the_first_run_starts_at_once() -> None:
    assert follow(None, pid=7, now=100.0) == Run(7, 100.0)
    assert Run(7, 100.0).delay_seconds == 0


def test_after_a_long_life_the_next_run_starts_at_once() -> None:
    old = Run(7, 100.0, young_deaths=3)
    next_run = follow(old, pid=8, now=100.0 + old.delay_seconds + YOUNG_SECONDS)
    assert next_run.young_deaths == 0


def test_who_keeps_dying_young_waits_longer_each_time_up_to_a_limit() -> None:
    run, now, delays = Run(1, 0.0), 0.0, []
    for pid in range(2, 14):
        now += run.delay_seconds + 0.1
        run = follow(run, pid, now)
        delays.append(run.delay_seconds)
    assert delays[:4] == [0.25, 0.5, 1.0, 2.0]
    assert delays == sorted(delays)
    assert delays[-1] == MAX_DELAY_SECONDS


def test_the_wait_before_a_start_does_not_count_as_life() -> None:
    waited_long = Run(7, 100.0, young_deaths=10)
    assert waited_long.delay_seconds == YOUNG_SECONDS
    assert follow(waited_long, pid=8, now=100.0 + YOUNG_SECONDS + 0.1).young_deaths == 11


@pytest.mark.parametrize("run", [Run(1, 2.5), Run(3, 4.0, 5)])
def test_a_record_says_again_what_was_written(run: Run, tmp_path: Path) -> None:
    write_record(tmp_path / "x.record", run)
    assert read_record(tmp_path / "x.record") == run
    assert [file.name for file in tmp_path.iterdir()] == ["x.record"]

"""Progress: a bar on a terminal, in a log a line now and then."""

import io
import re
import sys
import time

from rgan_tf import progress
from rgan_tf.progress import progress_bar


class Stream(io.StringIO):
    def __init__(self, terminal):
        super().__init__()
        self.isatty = lambda: terminal


def stand_in(monkeypatch, terminal=False, pause=10.0):
    """Within a test, since pytest sets the stream anew between a fixture and its test."""
    monkeypatch.setattr(sys, "stderr", Stream(terminal))
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", pause)
    return sys.stderr


def test_a_log_gets_a_line_each_interval(monkeypatch):
    log = stand_in(monkeypatch, pause=0.1)
    started = time.perf_counter()
    for _ in progress_bar(range(100), desc="steps", unit="step"):
        time.sleep(0.01)
    took = time.perf_counter() - started
    lines = log.getvalue().splitlines()
    assert 3 <= len(lines) <= took / 0.1 + 2, "and one that says it is done"
    assert all(re.match(r"steps: +\d+%.* \d+/100 \[\d\d:\d\d<\d\d:\d\d, .*step", line) for line in lines)
    assert "\r" not in log.getvalue() and "100/100" in lines[-1]


def test_short_work_leaves_a_log_alone(monkeypatch):
    log = stand_in(monkeypatch)
    with progress_bar(total=5) as bar:
        bar.update(5)
    assert log.getvalue() == ""


def test_bars_within_bars_move_no_cursor(monkeypatch):
    log = stand_in(monkeypatch, pause=0.02)
    for _ in progress_bar(range(3), desc="outer"):
        for _ in progress_bar(range(3), desc="inner"):
            time.sleep(0.03)
    text = log.getvalue()
    assert "outer" in text and "inner" in text and "\x1b" not in text and "\n\n" not in text


def test_a_terminal_gets_a_bar(monkeypatch):
    screen = stand_in(monkeypatch, terminal=True)
    list(progress_bar(range(3), desc="steps"))
    assert "\r" in screen.getvalue() and "3/3" in screen.getvalue()

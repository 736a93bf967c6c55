import datetime
import time

import pytest

from profiler.capture.session import Session, happened, remember

RIG = "0123456789abcdef"


@pytest.fixture(autouse=True)
def home(monkeypatch, tmp_path):
    monkeypatch.setenv("AMPSCOPE_HOME", str(tmp_path))
    monkeypatch.setattr(time, "monotonic", lambda: 1e6)  # the computer runs since 11 days
    return tmp_path


def let_pass(home, **time_):
    """As if what is remembered had happened earlier."""
    (path,) = home.rglob("*.json")
    stored = Session.load_json(path)
    before = {event: at - datetime.timedelta(**time_) for event, at in stored.happened_utc.items()}
    Session(happened_utc=before).save(path)


def test_each_thing_is_remembered_for_its_rig_alone():
    assert not happened(RIG, "confirmed")
    remember(RIG, "confirmed")
    assert happened(RIG, "confirmed")
    assert not happened(RIG, "approached")
    assert not happened("f" * 16, "confirmed")
    remember(RIG, "approached")
    assert happened(RIG, "confirmed")
    assert happened(RIG, "approached")


@pytest.mark.parametrize(("hours", "holds"), [(7.9, True), (8.1, False), (-0.5, False)])
def test_a_session_lasts_eight_hours(home, hours, holds):
    remember(RIG, "confirmed")
    let_pass(home, hours=hours)
    assert happened(RIG, "confirmed") == holds


def test_a_session_ends_with_the_computer(monkeypatch, home):
    remember(RIG, "confirmed")
    let_pass(home, minutes=10)
    assert happened(RIG, "confirmed")
    monkeypatch.setattr(time, "monotonic", lambda: 599.0)  # started after that
    assert not happened(RIG, "confirmed")


def test_a_damaged_memory_is_none(home):
    remember(RIG, "confirmed")
    (path,) = home.rglob("*.json")
    path.write_text("{")
    assert not happened(RIG, "confirmed")
    remember(RIG, "confirmed")
    assert happened(RIG, "confirmed")

"""The fixtures of tests of the app as gunicorn serves it: an app, a clock and a world that its workers share."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from tests.support import acts
from tests.support.servers import SharedClock, World, served


@pytest.fixture
def clock(tmp_path: Path) -> Iterator[SharedClock]:
    clock = SharedClock(tmp_path / "clock")
    yield clock
    clock.close()


@pytest.fixture
def app(make_app: Callable[..., Flask]) -> Flask:
    """The switch for recovery codes is on."""
    app = make_app(RECOVERY_CODES_ENABLED=None)
    acts.switch_codes(app, True)
    return app


@pytest.fixture
def world(app: Flask, make_person: Callable[..., Any], tmp_path: Path) -> Iterator[World]:
    """Served by four processes of four threads."""
    with served(app, tmp_path) as site:
        yield World(site, make_person)
    assert "Traceback" not in site.said()

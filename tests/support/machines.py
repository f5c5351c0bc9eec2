"""A machine that runs the site as docs/operations.md says: a folder, its settings, the service, and somebody who types
what stands in the guide."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flask import Flask

from app import create_app
from tests.support.apps import CHEAP, ROOT
from tests.support.people import Clock
from tests.support.servers import RemoteBrowser

GUIDE = (ROOT / "docs" / "operations.md").read_text()
PLACEHOLDER = "/srv/sparekey"
NOT_COPIED = shutil.ignore_patterns(".*", "__pycache__", "instance", "tests", "benchmarks")

SUDO = '#!/bin/bash\nexec "$@"\n'
# systemd's part for the unit of the guide: an empty environment, and nothing is ready before it answers.
SYSTEMCTL = """#!/bin/bash
set -e
test "$2" = sparekey
cd "{folder}"
running() {{ grep -q '^State:.[^ZX]' "/proc/$(cat "{state}/pid")/status"; }} 2>/dev/null
if [ "$1" != start ] && running; then kill "$(cat "{state}/pid")"; while running; do sleep 0.05; done; fi
if [ "$1" = stop ]; then exit; fi
env -i PATH=/usr/bin:/bin {before} >>"{state}/log" 2>&1
setsid env -i PATH=/usr/bin:/bin {command} >>"{state}/log" 2>&1 </dev/null &
echo $! >"{state}/pid"
until (exec 3<>/dev/tcp/127.0.0.1/{port}) 2>/dev/null; do running; sleep 0.05; done
"""


class RealClock(Clock):
    """What the service and the commands go by."""

    @property
    def now(self) -> int:  # type: ignore[override]
        return int(time.time())

    @now.setter
    def now(self, _: int) -> None: ...


def blocks(heading: str) -> list[str]:
    """What is to be typed, or to be put into a file, below this heading of the guide."""
    _, _, text = GUIDE.partition(f"# {heading}\n")
    assert text, heading
    text = re.split("^#", text, maxsplit=1, flags=re.MULTILINE)[0]
    found = re.findall(r"(?:^    .*\n)+", text, re.MULTILINE)
    return [re.sub("^    ", "", block, flags=re.MULTILINE) for block in found]


@dataclass
class Machine:
    folder: Path
    port: int
    engine: str
    url: str  # of the database, as the service's settings have it
    programs: Path | None = None  # where PostgreSQL's are
    state: Path = field(init=False)

    def __post_init__(self) -> None:
        self.state = self.folder.with_name("systemd")
        (self.state / "bin").mkdir(parents=True)
        (unit,) = (block for block in blocks("Behind a proxy, with https") if block.startswith("[Unit]"))
        before, command = (
            re.findall(f"^{key}=(.*)$", unit, re.MULTILINE)[0].replace(PLACEHOLDER, str(self.folder))
            for key in ("ExecStartPre", "ExecStart")
        )
        command = command.replace(":8000", f":{self.port}")
        words = {"folder": self.folder, "state": self.state, "port": self.port, "before": before, "command": command}
        for name, text in {"sudo": SUDO, "systemctl": SYSTEMCTL.format(**words)}.items():
            (self.state / "bin" / name).write_text(text)
            (self.state / "bin" / name).chmod(0o755)

    def install(self) -> None:
        shutil.copytree(ROOT, self.folder, ignore=NOT_COPIED)
        self.configure()

    def configure(self) -> None:
        """With the packages that the tests run with, and settings in .env alone."""
        (self.folder / ".venv").mkdir()
        (self.folder / ".venv" / "bin").symlink_to(Path(sys.prefix) / "bin")
        settings = {"SITE_URL": f"http://localhost:{self.port}", "PASSWORD_HASH_COST": "m=19456,t=2,p=1"}
        if self.engine == "postgresql":
            settings |= {"DATABASE_URL": self.url, "SECRET_KEY": "the-first-key-0123456789-abcdefghij"}
        (self.folder / ".env").touch(mode=0o600)
        (self.folder / ".env").write_text("".join(f"FLASK_{key}='{value}'\n" for key, value in settings.items()))

    def block(self, heading: str) -> str:
        """The one for this machine's database where there are two."""
        found = blocks(heading)
        return found[self.engine == "postgresql" and len(found) > 1]

    def type(self, commands: str) -> str:
        """What they say. AssertionError as soon as one of them fails."""
        path = [self.state / "bin", *([self.programs] if self.programs else []), os.environ["PATH"]]
        done = subprocess.run(
            ["bash", "-e", "-c", commands],
            cwd=self.folder,
            env={"PATH": ":".join(map(str, path)), "HOME": str(self.state), "PIP_NO_INDEX": "1"},
            capture_output=True,
            text=True,
            timeout=120,
        )
        log = (self.state / "log").read_text()[-2000:] if (self.state / "log").exists() else ""
        assert done.returncode == 0, f"{done.stdout}{done.stderr}{log}"
        return done.stdout

    def start(self) -> None:
        self.type("sudo systemctl start sparekey")

    def crash(self) -> None:
        """As when the power fails: nothing is put in order."""
        with suppress(FileNotFoundError, ProcessLookupError):
            os.killpg(int((self.state / "pid").read_text()), signal.SIGKILL)

    def browser(self) -> RemoteBrowser:
        return RemoteBrowser(self, "203.0.113.7")  # type: ignore[arg-type]

    def settings(self) -> dict[str, str]:
        return dict(re.findall("^FLASK_([A-Z_]+)='(.*)'$", (self.folder / ".env").read_text(), re.MULTILINE))

    @contextmanager
    def inside(self, **config: Any) -> Iterator[Flask]:
        """An app of this process on the same database, with the same key, for as long as this lasts."""
        key = self.settings().get("SECRET_KEY") or (self.folder / "instance" / "secret_key").read_text()
        given = {"DATABASE_URL": self.url, "SECRET_KEY": key, "PASSWORD_HASH_COST": CHEAP, "CLOCK": RealClock()}
        app = create_app({"TESTING": True, **given, **config})
        try:
            yield app
        finally:
            app.extensions["store"].database.close_all()

"""The short form of the drills: those that take about a second of processor time each."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from small_photos import need_mtcnn

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))
import drill
from drill_list import DRILLS, CannotHold, Drill, Outcome, fact, together
from drill_site import Site

TOOLS = Path(__file__).parents[2] / "tools"
SHORT = drill.chosen((), short=True)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    need_mtcnn()
    return Site(tmp_path_factory.mktemp("site"))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the drills bound processes as Linux does")
@pytest.mark.parametrize("one", SHORT, ids=[one.name for one in SHORT])
def test_a_drill_holds(site: Site, one: Drill) -> None:
    found = one.held(site)
    if found.ok is None:
        pytest.skip(found.found)
    assert found.ok, found.found


def test_every_item_has_a_drill() -> None:
    items = {one.item for one in DRILLS}
    asked = {f"A{number}" for number in range(1, 14)} | {f"C{number}" for number in range(1, 12)}
    assert asked | {"B1", "B2", "B3", "B4"} == items
    assert len({one.name for one in DRILLS}) == len(DRILLS)


def test_a_failure_is_never_green(site: Site) -> None:
    def broken(_: Site) -> Outcome:
        raise ValueError("of its own")

    def absent(_: Site) -> Outcome:
        raise CannotHold("nothing here")

    assert Drill("X", "", "", broken, True, False).held(site).ok is False
    assert Drill("X", "", "", absent, True, False).held(site).ok is None
    assert Drill("X", "", "", absent, True, True).held(site).found == "needs --faces"
    assert together(fact(True, "a"), fact(False, "b")) == Outcome("NOT: b", False)
    ran = site.run([sys.executable, "-c", "print('x' * 10)"])
    assert ran.check(0, "xxx").ok
    assert not ran.check(1).ok
    assert not ran.check(0, "y").ok
    assert not ran.check(0, never=("xx",)).ok
    assert not ran.check(0, reason="io").ok


def test_what_does_not_end_or_takes_too_much_is_ended(site: Site) -> None:
    late = site.run([sys.executable, "-c", "import time; time.sleep(60)"], seconds=0.5)
    assert late.late
    assert not late.check((0, -9)).ok
    greedy = site.run([sys.executable, "-c", "bytearray(2 << 30)"], space=1 << 30)
    assert greedy.code == 1
    held = site.run([sys.executable, "-c", "import time; a = bytearray(b'x' * (200 << 20)); time.sleep(0.3)"])
    assert held.megabytes is None or 200 <= held.megabytes < 500
    assert not held.check(0, megabytes=100).ok


def test_the_table_ends_with_one_unless_all_is_green(tmp_path: Path) -> None:
    def said(*options: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(TOOLS / "drill.py"), *options]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    green = said("--only", "A13-docs_speak_of_files_that_are_written", "--json")
    assert (green.returncode, json.loads(green.stdout)[0]["ok"]) == (0, True)
    copy = tmp_path / "checkout"
    shutil.copytree(TOOLS, copy / "tools", ignore=shutil.ignore_patterns("__pycache__"))
    (copy / "docs").mkdir()
    (copy / "docs" / "a.md").write_text("`ema.safetensors` is written")
    command = [
        sys.executable,
        str(copy / "tools" / "drill.py"),
        "--only",
        "A13-docs_speak_of_files_that_are_written",
    ]
    red = subprocess.run(command, capture_output=True, text=True, check=False)
    assert red.returncode == 1
    assert "| docs/a.md | FAILED |" in red.stdout
    assert said("--only", "A99").returncode == 2

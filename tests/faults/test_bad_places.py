"""Names and places that a file should not have: links in a circle, pipes, devices, sockets, closed folders,
names that are no UTF-8 or very long. Each command ends, soon, with a reason and the right exit code."""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from photo_bytes import written
from small_photos import need_mtcnn
from tiny_model import write_tiny_model

from facekd.cli.main import main
from facekd.preprocess import open_source

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no such files on this system")

#: every place where a command takes a file to read: {x} is what it gets; the others are sound
READING = {
    "photo": ("verify", "{x}", "{photo}", "--model", "{model}", "--threshold", "0.5"),
    "second photo": ("verify", "{photo}", "{x}", "--model", "{model}", "--threshold", "0.5"),
    "identify": ("identify", "{x}", "--model", "{model}", "--gallery", "{gallery}", "--threshold", "0.5"),
    "embed": ("embed", "{x}", "--out", "{new}.npz", "--yes", "--model", "{model}"),
    "enroll": ("enroll", "Ann", "{x}", "--model", "{model}", "--gallery", "{new}.db"),
    "pairs": ("verify", "--pairs", "{x}", "--model", "{model}", "--threshold", "0.5"),
    "people": ("enroll", "--from", "{x}", "--model", "{model}", "--gallery", "{new}.db"),
    "model": ("verify", "{photo}", "{photo}", "--model", "{x}", "--threshold", "0.5"),
    "card": ("card", "{x}"),
    "gallery": ("gallery", "list", "--gallery", "{x}"),
    "check": ("gallery", "check", "--gallery", "{x}"),
    "import": ("gallery", "import", "{x}", "--gallery", "{new}.db"),
    "scores": ("evaluate-scores", "{x}"),
    "align": ("align", "{x}", "{new}", "--jobs", "1"),
    "recipe": ("recipe", "check", "{x}"),
}
#: and a file to write
WRITING = {
    "embed": ("embed", "{photo}", "--out", "{x}/a.npz", "--yes", "--model", "{model}"),
    "enroll": ("enroll", "Ann", "{photo}", "--model", "{model}", "--gallery", "{x}/g.db"),
    "backup": ("gallery", "backup", "{x}/b.db", "--gallery", "{gallery}"),
    "export": ("gallery", "export", "{x}/a.jsonl", "--yes", "--gallery", "{gallery}"),
    "align": ("align", "{photo}", "{x}/crops", "--jobs", "1"),
    "report": ("evaluate-scores", "{scores}", "--report", "{x}/r.html"),
    "table": ("evaluate-scores", "{scores}", "--csv", "{x}/r.csv"),
    "annotate": ("verify", "{photo}", "{photo}", "--model", "{model}", "--threshold", "0.5",
                 "--annotate", "{x}/p.png"),
}  # fmt: skip


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    need_mtcnn()
    folder = tmp_path_factory.mktemp("sound")
    (folder / "photo.png").write_bytes(written("png"))
    write_tiny_model(folder / "model.onnx")
    enrolled = ("enroll", "Ann", folder / "photo.png", "--model", folder / "model.onnx")
    assert main([*map(str, enrolled), "--gallery", str(folder / "gallery.db")]) == 0
    lines = (f"{0.9 - 0.001 * k},1\n{0.1 + 0.001 * k},0\n" for k in range(60))
    (folder / "scores.csv").write_text("score,label\n" + "".join(lines))
    return folder


def failure_in(out: str) -> dict[str, str]:
    """Of the only document, or of the last line of several; the document's, or that of a photo in it."""
    try:
        document = json.loads(out)
    except ValueError:
        document = json.loads(out.splitlines()[-1])
    return document.get("failure") or document["failures"][0]


@pytest.fixture
def told(facekd: Callable, sound: Path, tmp_path: Path) -> Callable[..., tuple[int, str]]:
    """Run a command with ``x`` in its place; exit code and reason."""

    def run(command: tuple[str, ...], x: object) -> tuple[int, str]:
        names = {"photo": "photo.png", "model": "model.onnx", "gallery": "gallery.db", "scores": "scores.csv"}
        places = {what: sound / name for what, name in names.items()} | {"x": x, "new": tmp_path / "new"}
        ran = facekd(*(word.format(**places) for word in command), "--json")
        assert "Traceback" not in ran.err
        failure = failure_in(ran.out)
        assert failure["message"]
        assert not (tmp_path / "new").exists()
        assert not (tmp_path / "new.npz").exists()
        return ran.code, failure["reason"]

    return run


@pytest.fixture
def odd_place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[object]:
    """What the parameter names."""
    place = tmp_path / "odd"
    if request.param == "a link to itself":
        place.symlink_to(place)
    elif request.param == "links in a circle":
        place.symlink_to(tmp_path / "other")
        (tmp_path / "other").symlink_to(place)
    elif request.param == "a link to nothing":
        place.symlink_to(tmp_path / "gone")
    elif request.param == "a pipe":
        os.mkfifo(place)
    elif request.param == "a socket":
        with socket.socket(socket.AF_UNIX) as listening:
            os.chdir(tmp_path)  # the address of a socket must be short
            listening.bind("odd")
            yield place
        return
    elif request.param == "a device":
        place = Path("/dev/zero")
    elif request.param == "a long name":
        place = tmp_path / ("x" * 300)
    elif request.param == "a long path":
        place = tmp_path.joinpath(*["x" * 200] * 30)
    elif request.param == "below a file":
        (tmp_path / "file").write_text("a file")
        place = tmp_path / "file" / "odd"
    yield place


ODD = ("a link to itself", "links in a circle", "a link to nothing", "a pipe", "a socket", "a device",
       "a long name", "a long path", "below a file")  # fmt: skip
#: where a command's options say that a file must be there, one that is not is a mistake in the call
MUST_EXIST = ("model", "scores", "recipe", "align", "card")


@pytest.fixture(autouse=True)
def back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path.cwd())


@pytest.mark.parametrize("odd_place", ODD, indirect=True)
@pytest.mark.parametrize("command", READING)
def test_a_place_that_cannot_be_read(told: Callable, command: str, odd_place: object) -> None:
    code, reason = told(READING[command], odd_place)
    if code == 2:
        assert command in MUST_EXIST
        assert reason in ("usage", "recipe")
    else:
        assert (code, reason) == (5, "io")


@pytest.mark.parametrize("odd_place", ODD, indirect=True)
@pytest.mark.parametrize("command", WRITING)
def test_a_place_that_cannot_be_written(told: Callable, command: str, odd_place: object) -> None:
    code, reason = told(WRITING[command], odd_place)
    assert (code, reason) in ((5, "io"), (2, "usage"))


#: what a process of root's gives up so that modes of files bind it: CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH
_CAPABILITIES, _PR_CAPBSET_DROP = (1, 2), 24


@pytest.fixture(scope="module")
def closed(sound: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Copies of what is sound that nobody may read, in folders that nobody may enter or write to."""
    folder = tmp_path_factory.mktemp("closed")
    for name in ("photo.png", "model.onnx", "gallery.db", "scores.csv"):
        shutil.copy(sound / name, folder / name).chmod(0)
    (folder / "folder").mkdir()
    shutil.copy(sound / "photo.png", folder / "folder" / "photo.png")
    (folder / "folder").chmod(0)
    (folder / "fixed").mkdir()
    (folder / "fixed").chmod(0o500)
    yield folder
    for name in ("folder", "fixed"):
        (folder / name).chmod(0o700)


#: {closed} has what may not be read, {sound} what may; {model} may be read
FORBIDDEN = (
    ("verify", "{closed}/photo.png", "{sound}/photo.png", "--threshold", "0.5", "--model", "{model}"),
    ("verify", "{closed}/folder/photo.png", "{sound}/photo.png", "--threshold", "0.5", "--model", "{model}"),
    ("verify", "{sound}/photo.png", "{sound}/photo.png", "--threshold", "0.5", "--model",
     "{closed}/model.onnx"),
    ("card", "{closed}/model.onnx"),
    ("gallery", "list", "--gallery", "{closed}/gallery.db"),
    ("gallery", "check", "--gallery", "{closed}/gallery.db"),
    ("evaluate-scores", "{closed}/scores.csv"),
    ("evaluate-scores", "{sound}/scores.csv", "--csv", "{closed}/fixed/table.csv"),
    ("embed", "{closed}/folder", "--out", "{closed}/new.npz", "--yes", "--model", "{model}"),
    ("embed", "{sound}/photo.png", "--out", "{closed}/fixed/new.npz", "--yes", "--model", "{model}"),
    ("enroll", "Bo", "{sound}/photo.png", "--model", "{model}", "--gallery", "{closed}/fixed/g.db"),
    ("enroll", "--from", "{closed}/folder", "--model", "{model}", "--gallery", "{closed}/new.db"),
    ("gallery", "backup", "{closed}/fixed/b.db", "--gallery", "{sound}/gallery.db"),
    ("align", "{sound}/photo.png", "{closed}/fixed/crops", "--jobs", "1"),
)  # fmt: skip

_RUN_ALL = """
import json, sys
from facekd.cli.main import main
from facekd.preprocess import open_source
for command in json.loads(sys.argv[1]):
    code = int(main(command))
    print("\\n===", code, flush=True)
"""


def test_what_the_modes_of_files_forbid(sound: Path, closed: Path) -> None:
    """In one process that is subject to file modes, even if it is root's."""

    def bound() -> None:
        if os.geteuid() == 0:
            for capability in _CAPABILITIES:
                ctypes.CDLL(None).prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)

    probe = subprocess.run(["cat", closed / "photo.png"], capture_output=True, preexec_fn=bound)
    if probe.returncode == 0:
        pytest.skip("modes of files do not bind this user, and that could not be given up")
    places = {"closed": closed, "sound": sound, "model": sound / "model.onnx"}
    commands = [[word.format(**places) for word in one] + ["--json"] for one in FORBIDDEN]
    ran = subprocess.run(
        [sys.executable, "-c", _RUN_ALL, json.dumps(commands)],
        capture_output=True,
        text=True,
        preexec_fn=bound,
    )
    assert "Traceback" not in ran.stderr
    told = ran.stdout.split("\n===")
    outs, codes = [told[0], *(part.partition("\n")[2] for part in told[1:-1])], told[1:]
    assert len(codes) == len(FORBIDDEN)
    for command, out, code in zip(FORBIDDEN, outs, codes, strict=True):
        failure = failure_in(out)
        assert (int(code.split()[0]), failure["reason"]) == (5, "io"), (command, failure)
        assert "ermission denied" in failure["message"] or "cannot be" in failure["message"], failure
    assert sorted(os.listdir(closed)) == [
        "fixed", "folder", "gallery.db", "model.onnx", "photo.png", "scores.csv"
    ]  # fmt: skip


#: names that are no UTF-8, that a terminal would obey, or as long as they may be
NAMES = {
    "no UTF-8": b"\xff\xfe",
    "half a letter": b"caf\xc3",
    "an escape": b"a\x1b]0;title\x07",
    "a line break": b"a\nb",
    "a carriage return": b"safe\revil",
    "written backwards": "\u202egnp".encode(),
    "as long as may be": b"x" * 245,
    "a dash": b"-rf",
    "a formula": b"=cmd|' ",
    "spaces": b"  ",
    "markup": b"[red]<script>alert(1)<",
    "a format": b"{0.__class__}%s%n",
}


def _odd_name(tmp_path: Path, what: str, ending: str) -> Path:
    return tmp_path / os.fsdecode(NAMES[what] + ending.encode())


@pytest.mark.parametrize("what", NAMES)
@pytest.mark.parametrize("bad", [True, False])
def test_a_photo_of_an_odd_name(facekd: Callable, sound: Path, tmp_path: Path, what: str, bad: bool) -> None:
    """Escaped on stderr, valid UTF-8 in JSON, and read as any other."""
    photo = _odd_name(tmp_path, what, ".png")
    photo.write_bytes(b"no photo" if bad else written("png"))
    common = ("--model", sound / "model.onnx")
    gallery, out = tmp_path / "g.db", tmp_path / "o.npz"
    calls = (
        (("verify", photo, sound / "photo.png", *common, "--threshold", "0.5"), 0),
        (("embed", photo, "--out", out, "--yes", *common), 0),
        (("embed", tmp_path, "--out", out, "--yes", "--force", *common), 0),
        (("enroll", "Ann", photo, *common, "--gallery", gallery), 0),
        (("align", photo, tmp_path / "crops", "--jobs", "1"), 0),
    )
    for call, code in calls:
        ran = facekd(*call, "--json")
        assert "Traceback" not in ran.err
        assert "internal" not in ran.out + ran.err
        assert not {"\x1b", "\x07", "\r", "\u202e"} & set(ran.err)
        if call[0] == "align":
            assert ran.code in (0, 3)
            continue
        assert ran.code == (5 if bad else code), ran.err
        if bad:
            assert failure_in(ran.out)["reason"] == "unreadable"
        else:
            json.loads(ran.out)


@pytest.mark.parametrize("what", NAMES)
@pytest.mark.parametrize(
    "kind", ["model", "gallery", "table", "out", "report", "scores", "archive", "folder"]
)
def test_a_file_of_an_odd_name(facekd: Callable, sound: Path, tmp_path: Path, kind: str, what: str) -> None:
    """Whatever facekd reads or writes may be called so: it is read or written, or the name is refused."""
    calls: dict[str, tuple[object, ...]] = {
        "model": ("verify", sound / "photo.png", sound / "photo.png", "--threshold", "0.5", "--model"),
        "gallery": ("enroll", "Ann", sound / "photo.png", "--model", sound / "model.onnx", "--gallery"),
        "table": ("evaluate-scores", sound / "scores.csv", "--csv"),
        "out": ("embed", sound / "photo.png", "--yes", "--model", sound / "model.onnx", "--out"),
        "report": ("evaluate-scores", sound / "scores.csv", "--report"),
        "scores": ("evaluate-scores",),
        "archive": ("gallery", "export", "--yes", "--gallery", sound / "gallery.db"),
        "folder": ("data", "convert"),
    }
    endings = {"model": ".onnx", "gallery": ".db", "out": ".npz", "report": ".html", "archive": ".jsonl",
               "folder": ""}  # fmt: skip
    place = _odd_name(tmp_path, what, endings.get(kind, ".csv"))
    if kind in ("model", "scores"):
        shutil.copy(sound / ("model.onnx" if kind == "model" else "scores.csv"), place)
    if kind == "folder":
        place.mkdir()
        (place / "1.png").write_bytes(written("png"))
        for target in ("new.zip", "new.rec", "new"):
            copy = tmp_path.parent / f"{tmp_path.name}-{target}"
            ran = facekd("data", "convert", tmp_path, copy)
            assert not {"\x1b", "\x07", "\r", "\u202e"} & set(ran.err)
            if ran.code == 0:
                assert {name.split("/")[0] for name in open_source(copy).names()} == {place.name}
            else:
                assert (ran.code, "cannot be written into" in ran.err) == (5, True)
                assert what in ("no UTF-8", "half a letter", "a line break", "a carriage return")
        return
    ran = facekd(*calls[kind], place, "--json")
    assert ran.code == 0, ran.err
    assert not {"\x1b", "\x07", "\r", "\u202e"} & set(ran.err)
    json.loads(ran.out)
    assert place.exists()

"""Every way a command can end without an answer: its exit code, its words, its document."""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from tiny_model import write_tiny_model

from facekd.cli.main import LazyGroup, group

#: arguments, exit code, reason of commands that get what they cannot use; {x} is a file that is not there,
#: {text} one that is no image, model or recipe, {model} a model with a card, {folder} an empty folder
CASES = (
    (["verify", "{x}", "{x}", "--model", "{model}", "--threshold", "0.5"], 5, "io"),
    (["verify", "{text}", "{text}", "--model", "{model}", "--threshold", "0.5"], 5, "unreadable"),
    (["verify", "{text}", "{text}", "--model", "{model}"], 2, "usage"),
    (["verify", "{text}", "--model", "{model}"], 2, "usage"),
    (["verify", "{text}", "{text}", "--model", "{x}"], 2, "usage"),
    (["verify", "{text}", "{text}", "--model", "{text}"], 5, "unreadable"),
    (["verify", "--claim", "Ann", "{text}", "--model", "{model}", "--threshold", "0.5"], 5, "io"),
    (["verify", "--pairs", "{x}", "--model", "{model}", "--threshold", "0.5"], 5, "io"),
    (["verify", "--pairs", "{text}", "--model", "{model}", "--threshold", "0.5"], 5, "unreadable"),
    (["verify", "--all", "{folder}", "--model", "{model}", "--threshold", "0.5"], 5, "io"),
    (["embed", "{text}", "--out", "{x}.npz", "--yes", "--model", "{model}"], 5, "unreadable"),
    (["embed", "{text}", "--out", "{x}.npz", "--model", "{model}"], 2, "usage"),
    (["embed", "{folder}", "--out", "{x}.npz", "--yes", "--model", "{model}"], 5, "io"),
    (["enroll", "Ann", "{x}/b.jpg", "--model", "{model}"], 5, "io"),
    (["enroll", "--from", "{x}.csv", "--model", "{model}"], 5, "io"),
    (["enroll", "--from", "{folder}", "--model", "{model}"], 5, "io"),
    (["enroll", "Ann", "--model", "{model}"], 2, "usage"),
    (["gallery", "list", "--gallery", "{x}"], 5, "io"),
    (["gallery", "list", "--gallery", "{text}"], 5, "unreadable"),
    (["gallery", "remove", "Ann", "--yes", "--gallery", "{x}"], 5, "io"),
    (["gallery", "show", "Ann", "--gallery", "{x}"], 5, "io"),
    (["gallery", "rename", "Ann", "Bo", "--gallery", "{text}"], 5, "unreadable"),
    (["gallery", "merge", "Ann", "Bo", "--yes", "--gallery", "{x}"], 5, "io"),
    (["gallery", "audit", "--gallery", "{text}"], 5, "unreadable"),
    (["gallery", "audit", "--since", "never", "--gallery", "{x}"], 2, "usage"),
    (["gallery", "audit", "--reads", "--gallery", "{text}"], 5, "unreadable"),
    (["gallery", "audit", "--keep-days", "0", "--gallery", "{x}"], 2, "usage"),
    (["gallery", "audit", "--keep-days", "1", "--since", "2026-01-01", "--gallery", "{x}"], 2, "usage"),
    (["gallery", "audit", "--keep-days", "1", "--yes", "--gallery", "{x}"], 5, "io"),
    (["verify", "{text}", "{text}", "--audit", "--model", "{model}"], 2, "usage"),
    (["identify", "{text}", "--audit", "--model", "{model}", "--gallery", "{text}"], 5, "unreadable"),
    (["gallery", "check", "--gallery", "{text}"], 5, "unreadable"),
    (["gallery", "stats", "--gallery", "{x}"], 5, "io"),
    (["gallery", "backup", "{folder}/b.db", "--gallery", "{x}"], 5, "io"),
    (["gallery", "export", "{folder}/a", "--yes", "--gallery", "{x}"], 5, "io"),
    (["gallery", "export", "{folder}/a", "--gallery", "{x}"], 2, "usage"),
    (["gallery", "import", "{text}", "--gallery", "{x}"], 5, "unreadable"),
    (["gallery", "import", "{x}", "--gallery", "{x}"], 5, "io"),
    (["gallery", "re-embed", "--from", "{x}", "--model", "{model}", "--gallery", "{x}"], 5, "io"),
    (["gallery", "re-embed", "--from", "{folder}", "--model", "{model}", "--gallery", "{text}"], 5, "io"),
    (["gallery", "re-embed", "--from", "{text}", "--model", "{model}", "--gallery", "{text}"], 2, "usage"),
    (["gallery", "re-embed", "--model", "{model}", "--gallery", "{x}"], 2, "usage"),
    (["gallery", "new-key", "{text}"], 2, "usage"),
    (["gallery", "encrypt", "--gallery", "{text}"], 2, "no_key"),
    (["gallery", "encrypt", "--gallery", "{x}", "--key-file", "{text}"], 2, "usage"),
    (["gallery", "list", "--gallery", "{text}", "--key-file", "{text}"], 5, "unreadable"),
    (["gallery", "copy", "{x}", "{x}2", "--plain", "--target-key-file", "{x}"], 2, "usage"),
    (["gallery", "rotate-key", "--gallery", "{x}", "--new-key-file", "{x}"], 5, "io"),
    (["gallery", "rotate-key", "--gallery", "{x}"], 2, "usage"),
    (["gallery", "decrypt", "--yes", "--gallery", "{text}"], 5, "unreadable"),
    (["gallery", "decrypt", "--gallery", "{x}"], 2, "usage"),
    (["identify", "{x}", "--model", "{model}", "--gallery", "{x}"], 5, "io"),
    (["identify", "{text}", "--model", "{model}", "--gallery", "{text}"], 5, "unreadable"),
    (["identify", "{text}", "--model", "{model}", "--threshold", "0.5", "--fpir", "0.1"], 2, "usage"),
    (["identify", "--model", "{model}"], 2, "usage"),
    (["identify", "{x}.mp4", "--camera", "0", "--model", "{model}"], 2, "usage"),
    (["identify", "{x}.csv", "--model", "{model}", "--gallery", "{x}"], 5, "io"),
    (["enroll", "Ann", "{x}.mp4", "--camera", "0", "--model", "{model}"], 2, "usage"),
    (["gallery", "calibrate", "--gallery", "{x}"], 5, "io"),
    (["gallery", "index", "--gallery", "{text}"], 5, "unreadable"),
    (["gallery", "index", "--engine", "pgvector", "--gallery", "{x}"], 5, "io"),
    (["gallery", "index", "--engine", "milvus", "--gallery", "{x}"], 2, "usage"),
    (["gallery", "index", "--engine", "milk", "--gallery", "{x}"], 2, "usage"),
    (["gallery", "dedupe", "--gallery", "{text}"], 5, "unreadable"),
    (["serve", "--tokens", "{x}", "--model", "{model}"], 2, "usage"),
    (["serve", "--host", "0.0.0.0", "--model", "{model}"], 2, "usage"),
    (["evaluate", "{model}", "--data", "{folder}"], 2, "usage"),
    (["evaluate", "{model}"], 2, "usage"),
    (["evaluate-scores", "{text}"], 5, "unreadable"),
    (["evaluate-scores", "{x}"], 2, "usage"),
    (["compatibility", "{model}", "{model}", "--data", "{folder}"], 2, "usage"),
    (["compatibility", "{model}", "{text}", "--data", "{folder}", "--pairs", "{x}"], 2, "usage"),
    (["gallery", "evaluate", "--probes", "{folder}", "--gallery", "{x}", "--model", "{model}"], 5, "io"),
    (["gallery", "evaluate", "--model", "{model}"], 2, "usage"),
    (["calibrate", "{model}", "--data", "{folder}"], 5, "io"),
    (["calibrate", "{model}", "--data", "{x}"], 2, "usage"),
    (["calibrate", "{model}", "--data", "{folder}", "--groups", "{text}"], 5, "unreadable"),
    (["benchmark", "{model}", "{text}"], 5, "unreadable"),
    (["degrade", "{text}", "--data", "{folder}"], 2, "usage"),
    (["card", "{text}"], 5, "unreadable"),
    (["align", "{folder}", "{x}"], 5, "io"),
    (["align", "{text}", "{x}"], 2, "usage"),
    (["data", "check", "{folder}", "--against", "{folder}", "--model", "{model}", "--aligned"], 5, "io"),
    (["export", "{x}"], 5, "io"),
    (["train", "{text}"], 2, "recipe"),
    (["distill", "{text}"], 2, "recipe"),
    (["recipe", "check", "{text}"], 2, "recipe"),
    (["doctor", "{x}"], 2, "usage"),
    (["compare", "a", "b"], 2, "usage"),
    (["verify", "--modle", "x"], 2, "usage"),
)


@pytest.fixture
def things(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "text.txt").write_text("not what it should be\n[[[")
    (tmp_path / "folder").mkdir()
    model = write_tiny_model(tmp_path / "model.onnx")
    return {
        "x": str(tmp_path / "not there"),
        "text": str(tmp_path / "text.txt"),
        "folder": str(tmp_path / "folder"),
        "model": str(model),
    }


@pytest.mark.parametrize(("arguments", "code", "reason"), CASES, ids=lambda value: str(value)[:60])
def test_a_failure_is_a_document_too(
    facekd: Callable, things: dict[str, str], tmp_path: Path, arguments: list[str], code: int, reason: str
) -> None:
    given = [argument.format(**things) for argument in arguments]
    ran = facekd(*given, "--json")
    assert (ran.code, "Traceback" in ran.err) == (code, False), ran.err
    documents = [json.loads(line) for line in ran.out.splitlines()] if given[0] == "enroll" else [
        json.loads(ran.out)
    ]  # fmt: skip
    failures = [d.get("failure") or (d.get("failures") or [None])[0] for d in documents]
    assert failures[-1]["reason"] == reason
    assert failures[-1]["message"]
    assert failures[-1]["message"].splitlines()[0] in ran.err
    assert all("schema" in document for document in documents)


def test_every_command_has_a_case() -> None:
    assert isinstance(group, LazyGroup)
    without_json = {"demo", "detector"}
    commands = set(group.list_commands(click.Context(group)))
    assert commands - without_json == {arguments[0] for arguments, *_ in CASES} & commands


def test_names_of_files_cannot_speak_to_the_terminal(facekd: Callable, tmp_path: Path) -> None:
    evil = tmp_path / "a\x1b[31m\x07.jpg"
    evil.write_bytes(b"no image")
    model = write_tiny_model(tmp_path / "model.onnx")
    ran = facekd("verify", evil, evil, "--model", model, "--threshold", "0.5")
    assert ran.code == 5
    assert "\x1b" not in ran.err
    assert "\\x1b[31m\\x07" in ran.err


def test_a_name_that_is_no_utf8_leaves_valid_json(things: dict[str, str], tmp_path: Path) -> None:
    name = os.fsencode(tmp_path) + b"/\xff\xfe.jpg"
    with open(name, "wb") as file:  # noqa: PTH123
        file.write(b"no image")
    command = [os.fsencode(sys.executable), b"-m", b"facekd", b"verify", name, name, b"--json", b"--model",
               os.fsencode(things["model"]), b"--threshold", b"0.5"]  # fmt: skip
    ran = subprocess.run(command, capture_output=True)
    assert ran.returncode == 5
    assert json.loads(ran.stdout.decode("utf-8"))["failure"]["reason"] == "unreadable"


def test_closed_output_is_no_decision(things: dict[str, str]) -> None:
    command = f'"{sys.executable}" -m facekd card "{things["model"]}" --json | true; exit ${{PIPESTATUS[0]}}'
    ran = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert ran.returncode in (0, 5)
    assert "Traceback" not in ran.stderr
    closed = subprocess.run(
        ["bash", "-c", f'"{sys.executable}" -m facekd card "{things["model"]}" >&-'],
        capture_output=True, text=True,
    )  # fmt: skip
    assert closed.returncode in (0, 5), closed.stderr
    assert "Traceback" not in closed.stderr


@pytest.mark.parametrize(
    ("word", "command"),
    [("compare", "verify"), ("verfy", "verify"), ("register", "enroll"), ("crop", "align")],
)
def test_a_command_by_another_name_is_pointed_to(facekd: Callable, word: str, command: str) -> None:
    ran = facekd(word, "a.jpg")
    assert ran.code == 2
    assert f"Did you mean '{command}'?" in ran.err


@pytest.mark.parametrize("words", [(), ("gallery",), ("data",)])
def test_a_group_alone_shows_its_help(facekd: Callable, words: tuple[str, ...]) -> None:
    ran = facekd(*words)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith(" ".join(("Usage: facekd", *words)))
    assert "Try '" not in ran.err
    assert facekd(*words, "--help").out.strip() == ran.err.strip()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("verify", "{model}", "a.jpg", "b.jpg"), "give the model with --model"),
        (("evaluate", "-m", "{model}", "--data", "{folder}"), "an argument here: facekd evaluate MODEL..."),
        (("calibrate", "--model", "{model}", "--data", "{folder}"), "here: facekd calibrate [MODEL]"),
        (("align", "{folder}"), "give SRC... and DST"),
        (("compatibility", "{model}"), "Missing argument 'OTHER'"),
        (("card", "{model}", "--set", "colour=rgb"), "colour: no such key"),
        (("evaluate_scores", "{text}"), "Did you mean 'evaluate-scores'?"),
        (("gallery", "evaluat"), "Did you mean 'evaluate'?"),
    ],
)
def test_what_a_newcomer_types_is_led_on(
    facekd: Callable, things: dict[str, str], arguments: tuple[str, ...], told: str
) -> None:
    ran = facekd(*(argument.format(**things) for argument in arguments))
    assert (ran.code, ran.out) == (2, ""), ran.err
    assert told in ran.err


def test_a_file_that_may_not_be_read_is_no_mistake_in_the_call(
    facekd: Callable, things: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root may read anything, so that the system is made to say that this user may not."""
    monkeypatch.setattr(os, "access", lambda *_, **__: False)
    for call in (["gallery", "list", "--gallery", things["text"]], ["card", things["text"]]):
        assert facekd(*call).code == 5
    photo = things["text"]
    ran = facekd("verify", photo, photo, "--model", things["model"], "--threshold", "0.5")
    assert ran.code == 5


@pytest.mark.parametrize("name", ["gallery", "data", "recipe"])
def test_groups_list_whole_sentences(facekd: Callable, name: str) -> None:
    listed = " ".join(facekd(name, "--help").out.partition("Commands:")[2].split())
    assert listed
    assert "..." not in listed
    command = importlib.import_module(f"facekd.cli.{name}").command
    for one in command.commands.values():
        assert " ".join(one.help.split()).split(". ")[0].rstrip(".") in listed


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no such device on this system")
@pytest.mark.parametrize("full", ["2>/dev/full", ">/dev/full", ">/dev/full 2>/dev/full"])
def test_a_full_disk_behind_the_output_is_no_decision(things: dict[str, str], full: str) -> None:
    command = f'"{sys.executable}" -m facekd gallery list --json --gallery "{things["x"]}" {full}'
    ran = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert ran.returncode == 5, ran.stderr
    assert "Traceback" not in ran.stderr


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no such files on this system")
def test_a_pipe_for_a_gallery_is_not_waited_for(
    facekd: Callable, things: dict[str, str], tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "pipe.db")
    ran = facekd("gallery", "list", "--gallery", tmp_path / "pipe.db")
    assert (ran.code, "a pipe, not a regular file" in ran.err) == (5, True)


def test_ctrl_c_while_the_command_line_is_loaded_shows_no_traceback() -> None:
    """The signal comes from within the import of click, the first thing that takes time."""
    code = (
        "import os, signal, sys\n"
        "class Finder:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == 'click': os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Finder())\n"
        "import facekd.cli\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (ran.returncode, ran.stderr) == (-signal.SIGINT, "")


def test_loading_the_command_line_leaves_ctrl_c_as_it_was() -> None:
    code = "import signal; b = signal.getsignal(2); import facekd.cli; assert signal.getsignal(2) is b"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0

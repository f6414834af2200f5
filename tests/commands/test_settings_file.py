"""`facekd.toml`: where it is found, what it may contain, and what takes precedence over it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import platformdirs
import pytest
from made_galleries import enroll

from facekd.weights import shipped_model


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder; neither the environment nor the user's folders say anything."""
    for name in ("FACEKD_MODEL", "FACEKD_GALLERY", "FACEKD_DETECTOR", "FACEKD_CONFIG", "FACEKD_AUDIT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def names(ran: object) -> list[str]:
    assert ran.code == 0, ran.err
    return [person["name"] for person in json.loads(ran.out)["people"]]


class TestWhere:
    def test_the_file_in_the_current_folder_then_that_of_the_user(
        self, facekd: Callable, here: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        for name in ("own", "here", "named"):
            (tmp_path / name).mkdir(exist_ok=True)
            enroll(tmp_path / name / "staff.db", (name, 1))
        users = Path(platformdirs.user_config_dir("facekd")) / "facekd.toml"
        users.parent.mkdir(parents=True)
        users.write_text(f'gallery = "{tmp_path / "own" / "staff.db"}"')
        ran = facekd("gallery", "list", "--json")
        assert names(ran) == ["own"]
        assert f"gallery: {tmp_path / 'own' / 'staff.db'} ({users})\n" in ran.err
        (here / "facekd.toml").write_text('gallery = "staff.db"')
        ran = facekd("gallery", "list", "--json")
        assert (names(ran), ran.err.count("gallery: ")) == (["here"], 1)
        assert f"gallery: {here / 'staff.db'} (facekd.toml)\n" in ran.err
        (tmp_path / "named" / "mine.toml").write_text('gallery = "staff.db"')
        monkeypatch.setenv("FACEKD_CONFIG", str(tmp_path / "named" / "mine.toml"))
        assert names(facekd("gallery", "list", "--json")) == ["named"]

    def test_one_that_is_named_must_be_there(
        self, facekd: Callable, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setenv("FACEKD_CONFIG", str(tmp_path / "absent.toml"))
        ran = facekd("gallery", "list")
        assert (ran.code, "absent.toml does not exist" in ran.err) == (2, True)

    def test_anothers_in_the_current_folder_is_not_obeyed(
        self, facekd: Callable, here: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        enroll(here / "staff.db", ("Ann", 1))
        file = here / "facekd.toml"
        file.write_text('gallery = "staff.db"')
        file.chmod(0o666)
        ran = facekd("gallery", "list")
        assert (ran.code, "every user may change it" in ran.err) == (2, True)
        file.chmod(0o644)
        if os.getuid() == 0:
            os.chown(file, 4242, -1)
        else:
            monkeypatch.setattr(os, "getuid", lambda: 4242)
        ran = facekd("gallery", "list")
        assert (ran.code, "belongs to another user" in ran.err) == (2, True)
        monkeypatch.setenv("FACEKD_CONFIG", str(file))
        assert names(facekd("gallery", "list", "--json")) == ["Ann"]

    def test_options_and_environment_win(
        self, facekd: Callable, here: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in ("file", "environment", "option"):
            enroll(here / f"{name}.db", (name, 1))
        (here / "facekd.toml").write_text('gallery = "file.db"')
        monkeypatch.setenv("FACEKD_GALLERY", "environment.db")
        ran = facekd("gallery", "list", "--json")
        assert (names(ran), "gallery:" in ran.err) == (["environment"], False)
        assert names(facekd("gallery", "list", "-g", "option.db", "--json")) == ["option"]

    def test_quiet_leaves_the_notes_out(self, facekd: Callable, here: Path) -> None:
        enroll(here / "staff.db", ("Ann", 1))
        (here / "facekd.toml").write_text('gallery = "staff.db"')
        assert facekd("gallery", "list", "--quiet").err == ""


class TestContent:
    @pytest.mark.parametrize(
        ("text", "fault"),
        [
            ('galery = "a.db"', "galery: no such setting; did you mean gallery?"),
            ("treshold = 0.5", "treshold: no such setting; did you mean threshold?"),
            (
                "xyz = 1",
                "xyz: no such setting; there are model, gallery, detector, threshold, fmr, fpir, key_file, "
                "key_command, audit_reads",
            ),
            ("[gallery]\nfile = 1", 'gallery: should be a string, not {"file": 1}'),
            ('threshold = "0.5"', 'threshold: should be a number, not "0.5"'),
            ("threshold = true", "threshold: should be a number, not true"),
            ("threshold = nan", "threshold: should be a finite number, not NaN"),
            ("threshold = 1.5", "threshold: should be from -1 to 1, not 1.5"),
            ("fmr = 0.0", "fmr: should be between 0 and 1, not 0.0"),
            ("fpir = 1", "fpir: should be between 0 and 1, not 1"),
            ('model = ""', 'model: should not be empty, not ""'),
            ("threshold = 0.5\nfmr = 0.1", "threshold: the file also sets fmr; keep one of them"),
            ("gallery = a.db", "not TOML: "),
            ("audit_reads = 1", "audit_reads: should be true or false, not 1"),
            ('audit_reads = "yes"', 'audit_reads: should be true or false, not "yes"'),
        ],
    )
    def test_what_it_must_not_say(self, facekd: Callable, here: Path, text: str, fault: str) -> None:
        (here / "facekd.toml").write_text(text)
        ran = facekd("gallery", "list", "--json")
        failure = json.loads(ran.out)["failure"]
        assert (ran.code, failure["reason"]) == (2, "usage")
        assert failure["message"].startswith(f"facekd.toml: {fault}")

    def test_all_faults_at_once(self, facekd: Callable, here: Path) -> None:
        (here / "facekd.toml").write_text("treshold = 0.5\nfmr = 2.0")
        told = facekd("gallery", "list").err
        assert "fmr: should be between 0 and 1, not 2.0; treshold: no such setting; did you" in told

    def test_no_text_at_all(self, facekd: Callable, here: Path) -> None:
        (here / "facekd.toml").write_bytes(b"\xff\xfe")
        assert facekd("gallery", "list").code == 2

    def test_a_command_that_takes_nothing_from_it_does_not_read_it(
        self, facekd: Callable, here: Path
    ) -> None:
        (here / "facekd.toml").write_text("wrong = 1")
        assert facekd("recipe", "list").code == 0
        assert facekd("gallery", "list", "--help").code == 0

    def test_an_empty_one_sets_nothing(self, facekd: Callable, here: Path) -> None:
        (here / "facekd.toml").write_text("")
        assert "(facekd.toml)" not in facekd("gallery", "list").err


class TestRecognising:
    def test_model_and_detector_start_from_the_files_folder(
        self, facekd: Callable, here: Path, photos: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (here / "models").mkdir()
        (here / "models" / "tiny.onnx").write_bytes(tiny.read_bytes())
        settings = here / "models" / "facekd.toml"
        settings.write_text('model = "tiny.onnx"\ndetector = "mtcnn"\nthreshold = 0.5\n')
        monkeypatch.setenv("FACEKD_CONFIG", str(settings))
        ran = facekd("verify", photos / "a.jpg", photos / "b.jpg", "--json")
        document = json.loads(ran.out)
        assert ran.code == 0, ran.err
        assert (document["threshold"]["value"], document["threshold"]["source"]) == (0.5, "option")
        assert [line for line in ran.err.splitlines() if str(settings) in line] == [
            f"threshold: 0.5 ({settings})",
            f"model: {here / 'models' / 'tiny.onnx'} ({settings})",
            f"detector: mtcnn ({settings})",
        ]
        settings.write_text('detector = "scrfd:weights.onnx"\n')
        ran = facekd("verify", photos / "a.jpg", photos / "b.jpg", "-m", tiny, "--threshold", "0.5")
        assert str(here / "models" / "weights.onnx") in ran.err

    def test_a_model_that_is_not_there(self, facekd: Callable, here: Path, photos: Path) -> None:
        (here / "facekd.toml").write_text('model = "absent.onnx"')
        ran = facekd("verify", photos / "a.jpg", photos / "b.jpg")
        assert ran.code == 2
        assert f"facekd.toml: model: {here / 'absent.onnx'} does not exist" in ran.err

    def test_of_rate_and_threshold_the_call_has_the_say(
        self, facekd: Callable, here: Path, photos: Path
    ) -> None:
        pair = (photos / "a.jpg", photos / "b.jpg")
        (here / "facekd.toml").write_text("threshold = 0.5")
        rate = json.loads(facekd("verify", *pair, "--fmr", "1e-2", "--json").out)["threshold"]
        assert (rate["source"], rate["fmr"]) == ("card", 0.01)
        (here / "facekd.toml").write_text("fmr = 1e-2\nfpir = 0.1")
        told = json.loads(facekd("verify", *pair, "--json").out)["threshold"]
        assert (told["source"], told["fmr"]) == ("card", 0.01)
        given = facekd("verify", *pair, "--threshold", "0.4", "--json")
        assert json.loads(given.out)["threshold"]["source"] == "option"
        assert "fmr:" not in given.err
        assert facekd("enroll", "Ann", photos / "a.jpg", "-g", "staff.db").code == 0
        found = json.loads(facekd("identify", photos / "b.jpg", "-g", "staff.db", "--json").out)
        assert found["fpir"] == 0.1
        (here / "facekd.toml").write_text("threshold = 0.5")
        found = facekd("identify", photos / "b.jpg", "-g", "staff.db", "--fpir", "0.1", "--json")
        assert json.loads(found.out)["fpir"] == 0.1, found.err


class TestDoctor:
    def test_it_shows_the_file_and_what_it_sets(
        self, facekd: Callable, here: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (here / "facekd.toml").write_text(f'model = "{tiny}"\ngallery = "staff.db"\nthreshold = 0.5')
        monkeypatch.setenv("FACEKD_GALLERY", "other.db")
        checks = json.loads(facekd("doctor", "--json").out)["checks"]
        (told,) = [check for check in checks if check["section"] == "settings"]
        assert told["status"] == "ok"
        assert told["values"] == {
            "path": "facekd.toml", "model": str(tiny), "gallery": str(here / "staff.db"), "threshold": 0.5
        }  # fmt: skip
        assert told["message"].endswith("; FACEKD_GALLERY takes precedence over its gallery")
        models = [check["message"] for check in checks if check["section"] == "models"]
        assert models[0].startswith(f"facekd.toml: {tiny}, ")
        assert [check["name"] for check in checks if check["section"] == "gallery"] == ["other.db"]

    def test_a_broken_one_is_a_fault_among_others(self, facekd: Callable, here: Path) -> None:
        (here / "facekd.toml").write_text("treshold = 0.5")
        ran = facekd("doctor", "--json")
        checks = json.loads(ran.out)["checks"]
        (told,) = [check for check in checks if check["section"] == "settings"]
        assert (told["status"], told["exit_code"], ran.code) == ("fault", 2, 2)
        assert "did you mean threshold?" in told["message"]
        shipped = shipped_model()
        assert shipped is not None
        assert shipped.name in {check["name"] for check in checks if check["section"] == "models"}

    def test_where_there_is_none_it_says_where_one_is_looked_for(self, facekd: Callable, here: Path) -> None:
        checks = json.loads(facekd("doctor", "--json").out)["checks"]
        (told,) = [check for check in checks if check["section"] == "settings"]
        assert told["values"] == {"path": None}
        assert str(Path(platformdirs.user_config_dir("facekd")) / "facekd.toml") in told["message"]


def test_python_does_not_read_it(here: Path) -> None:
    import facekd as package

    (here / "facekd.toml").write_text('gallery = "staff.db"\nthreshold = 0.5')
    assert package.Gallery().path == Path(platformdirs.user_data_dir("facekd")) / "gallery.db"
    assert package.Recognizer().threshold.source == "card"

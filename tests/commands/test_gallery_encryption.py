"""gallery new-key, encrypt, rotate-key, decrypt, and what the other commands do with a key."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from made_galleries import embedding, enroll

pytest.importorskip("cryptography")

import facekd as package
from facekd.errors import NoKey, WrongKey
from facekd.gallery import key_from_file, key_id, make_key_file
from facekd.workflows import Recognizer


@pytest.fixture(autouse=True)
def no_keys(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("FACEKD_GALLERY_KEY_FILE", "FACEKD_GALLERY_KEY", "FACEKD_GALLERY_KEY_COMMAND"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("FACEKD_CONFIG", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")


@pytest.fixture
def gallery(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "gallery.db"
    enroll(path, ("Ann", 1), ("Bo", 2))
    monkeypatch.setenv("FACEKD_GALLERY", str(path))
    return path


@pytest.fixture
def key(facekd: Callable, tmp_path: Path) -> Path:
    assert facekd("gallery", "new-key", tmp_path / "key").code == 0
    return tmp_path / "key"


def document(ran: object) -> dict:
    assert ran.code == 0, ran.err
    found: dict = json.loads(ran.out)
    return found


def reason(ran: object) -> tuple[int, str]:
    return ran.code, json.loads(ran.out)["failure"]["reason"]


def test_a_life_of_keys(facekd: Callable, gallery: Path, key: Path, tmp_path: Path) -> None:
    new = document(facekd("gallery", "new-key", tmp_path / "new", "--json"))
    encrypted = document(facekd("gallery", "encrypt", "--key-file", key, "--json"))
    assert (encrypted["templates"], encrypted["erasure"]) == (2, "done")
    assert encrypted["key_id"] != new["key_id"]
    stats = document(facekd("gallery", "stats", "--key-file", key, "--json"))
    assert (stats["encryption"], stats["key_id"]) == ("AES-256-GCM/1", encrypted["key_id"])
    rotate = ("gallery", "rotate-key", "--new-key-file", tmp_path / "new", "--json")
    assert reason(facekd(*rotate)) == (2, "no_key")
    assert document(facekd(*rotate, "--key-file", key))["key_id"] == new["key_id"]
    assert reason(facekd("gallery", "list", "--key-file", key, "--json")) == (5, "wrong_key")
    assert document(facekd("gallery", "list", "--key-file", tmp_path / "new", "--json"))["people"]
    decrypt = ("gallery", "decrypt", "--key-file", tmp_path / "new", "--json")
    assert reason(facekd(*decrypt)) == (2, "usage")
    assert document(facekd(*decrypt, "--yes"))["key_id"] is None
    assert embedding(1).tobytes() in gallery.read_bytes()
    lines = facekd("gallery", "audit").out.splitlines()
    assert [line.split()[1:] for line in lines[2:]] == [
        ["encrypt", "0", "2"], ["rotate_key", "0", "2"], ["decrypt", "0", "2"]
    ]  # fmt: skip


def test_what_makes_no_sense_is_refused(facekd: Callable, gallery: Path, key: Path) -> None:
    rotate = ("gallery", "rotate-key", "--new-key-file", key)
    for call, told in (
        (("gallery", "encrypt"), "no key was given"),
        ((*rotate,), "is not encrypted"),
        (("gallery", "decrypt", "--yes"), "is not encrypted"),
        (("gallery", "list", "--key-file", key), "is not encrypted, but a key is given"),
    ):
        ran = facekd(*call)
        assert (ran.code, told in ran.err) == (2, True), ran.err
    assert facekd("gallery", "encrypt", "--key-file", key).code == 0
    for call, told in (
        (("gallery", "encrypt"), "is already encrypted"),
        (rotate, "this is already the gallery's key"),
    ):
        ran = facekd(*call, "--key-file", key)
        assert (ran.code, told in ran.err) == (2, True), ran.err


def test_the_settings_and_the_environment_give_it(
    facekd: Callable, gallery: Path, key: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert facekd("gallery", "encrypt", "--key-file", key).code == 0
    ran = facekd("gallery", "list", "--json")
    assert (reason(ran), "FACEKD_GALLERY_KEY_FILE" in ran.err) == ((2, "no_key"), True)
    settings = tmp_path / "facekd.toml"
    monkeypatch.setenv("FACEKD_CONFIG", str(settings))
    for text in ('key_file = "key"', f'key_command = "cat {key}"'):
        settings.write_text(text)
        assert len(document(facekd("gallery", "list", "--json"))["people"]) == 2
    monkeypatch.setenv("FACEKD_GALLERY_KEY", "00" * 32)
    assert reason(facekd("gallery", "list", "--json")) == (5, "wrong_key")
    monkeypatch.setenv("FACEKD_GALLERY_KEY_FILE", str(key))
    assert len(document(facekd("gallery", "list", "--json"))["people"]) == 2
    settings.write_text('key_file = "key"\nkey_command = "cat key"')
    monkeypatch.delenv("FACEKD_GALLERY_KEY_FILE")
    monkeypatch.delenv("FACEKD_GALLERY_KEY")
    assert reason(facekd("gallery", "list", "--json")) == (2, "usage")


def test_a_file_that_merely_lies_there_runs_nothing(
    facekd: Callable, gallery: Path, key: Path, tmp_path: Path
) -> None:
    (tmp_path / "here" / "facekd.toml").write_text(f'key_command = "touch {tmp_path / "made"}"')
    ran = facekd("gallery", "list")
    assert (ran.code, "may not name a command" in ran.err) == (2, True)
    assert not (tmp_path / "made").exists()


def test_a_check_says_what_it_could_not_look_at(facekd: Callable, gallery: Path, key: Path) -> None:
    plain = document(facekd("gallery", "check", "--json"))
    assert (plain["encrypted"], plain["decrypted"], plain["whole"]) == (False, False, True)
    facekd("gallery", "encrypt", "--key-file", key)
    ran = facekd("gallery", "check", "--json")
    assert (document(ran)["encrypted"], document(ran)["decrypted"], document(ran)["whole"]) == (
        True, False, True
    )  # fmt: skip
    assert "were not decrypted" in ran.err
    ran = facekd("gallery", "check", "--json", "--key-file", key)
    assert (document(ran)["decrypted"], "not decrypted" in ran.err) == (True, False)


def test_archives_and_copies(facekd: Callable, gallery: Path, key: Path, tmp_path: Path) -> None:
    facekd("gallery", "encrypt", "--key-file", key)
    export = ("gallery", "export", tmp_path / "archive", "--yes", "--key-file", key)
    ran = facekd(*export)
    assert (ran.code, "--plain" in ran.err, (tmp_path / "archive").exists()) == (2, True, False)
    assert facekd(*export, "--plain").code == 0
    taken = tmp_path / "taken.db"
    ran = facekd("gallery", "import", tmp_path / "archive", "--gallery", taken, "--key-file", key)
    assert ran.code == 0, ran.err
    assert facekd("gallery", "backup", tmp_path / "copy.db").code == 0
    for file in (taken, tmp_path / "copy.db"):
        assert embedding(1).tobytes()[:16] not in file.read_bytes()
        assert reason(facekd("gallery", "list", "--gallery", file, "--json")) == (2, "no_key")
        assert facekd("gallery", "check", "--gallery", file, "--key-file", key).code == 0


def test_a_copy_has_a_key_unless_it_is_to_be_plain(
    facekd: Callable, gallery: Path, key: Path, tmp_path: Path
) -> None:
    facekd("gallery", "new-key", tmp_path / "new")
    facekd("gallery", "encrypt", "--key-file", key)

    def copy(name: str, *options: object) -> tuple[str, str | None, bool]:
        """The settings of a copy, the id of its key, and whether it contains a template in the clear."""
        ran = facekd("gallery", "copy", gallery, tmp_path / name, "--key-file", key, "--json", *options)
        asked = facekd("gallery", "list", "--gallery", tmp_path / name, "--json")
        why = json.loads(asked.out).get("failure", {"reason": "nothing"})["reason"]
        in_the_clear = embedding(1).tobytes() in (tmp_path / name).read_bytes()
        return why, document(ran)["key_id"], in_the_clear

    assert reason(facekd("gallery", "copy", gallery, tmp_path / "x.db", "--json")) == (2, "no_key")
    assert not (tmp_path / "x.db").exists()
    of = {name: key_id(key_from_file(file).key()) for name, file in (("own", key), ("new", tmp_path / "new"))}
    assert copy("own.db") == ("no_key", of["own"], False)
    assert copy("new.db", "--target-key-file", tmp_path / "new") == ("no_key", of["new"], False)
    assert copy("plain.db", "--plain") == ("nothing", None, True)
    for file, name in ((key, "own.db"), (tmp_path / "new", "new.db")):
        assert facekd("gallery", "check", "--gallery", tmp_path / name, "--key-file", file).code == 0
    both = ("--plain", "--target-key-file", tmp_path / "new", "--key-file", key, "--json")
    assert reason(facekd("gallery", "copy", gallery, tmp_path / "x.db", *both)) == (2, "usage")


def test_names_are_encrypted_if_asked(facekd: Callable, gallery: Path, key: Path, tmp_path: Path) -> None:
    given = ("--key-file", key)
    enroll(gallery, ("Quirina Ybarra", 3))
    assert document(facekd("gallery", "encrypt", "--json", *given))["names_encrypted"] is False
    assert b"Quirina" in gallery.read_bytes()
    ran = facekd("gallery", "encrypt", "--names", *given)
    assert (ran.code, "3 templates and all names" in ran.out) == (0, True)
    assert b"Quirina" not in gallery.read_bytes()
    assert reason(facekd("gallery", "encrypt", "--names", "--json", *given)) == (2, "usage")
    assert document(facekd("gallery", "stats", "--json", *given))["names_encrypted"] is True
    assert "names too" in facekd("gallery", "stats", *given).out
    people = document(facekd("gallery", "list", "--json", *given))["people"]
    assert [person["name"] for person in people] == ["Ann", "Bo", "Quirina Ybarra"]
    assert facekd("gallery", "rename", "Quirina Ybarra", "Quirina Yb", *given).code == 0
    assert document(facekd("gallery", "show", "Quirina Yb", "--json", *given))["number"] == 3
    assert document(facekd("gallery", "check", "--json"))["whole"] is True
    assert document(facekd("gallery", "backup", tmp_path / "copy.db", "--json"))["bytes"]
    assert document(facekd("gallery", "copy", gallery, tmp_path / "new.db", "--json", *given))["people"] == 3
    for file in (gallery, tmp_path / "copy.db", tmp_path / "new.db"):
        assert b"Quirina" not in file.read_bytes()
        assert facekd("gallery", "remove", "Quirina Yb", "--yes", "--gallery", file, *given).code == 0
    ran = facekd("gallery", "copy", gallery, tmp_path / "x.db", "--names", "--plain", "--json", *given)
    assert reason(ran) == (2, "usage")
    assert document(facekd("gallery", "decrypt", "--yes", "--json", *given))["names_encrypted"] is False
    assert facekd("gallery", "list").out.splitlines()[0].endswith("Ann")


def test_people_are_enrolled_and_recognised(
    facekd: Callable, operator: Path, photos: Path, key: Path, tmp_path: Path
) -> None:
    """As in a gallery in the clear, and it is never in the clear."""
    given = ("--key-file", key)
    assert facekd("enroll", "Ann", photos / "a.jpg", *given).code == 0
    assert facekd("enroll", "Ann", photos / "a.jpg").code == 2
    score = {}
    for name in ("encrypted", "plain"):
        verify = facekd("verify", "--claim", "Ann", photos / "b.jpg", "--threshold", "0.5", "--json", *given)
        score[name] = json.loads(verify.out)["score"]
        ran = facekd("identify", photos / "b.jpg", "--threshold", "0.5", "--json", *given)
        assert [one["name"] for one in json.loads(ran.out)["candidates"]] == ["Ann"]
        if given:
            assert facekd("gallery", "decrypt", "--yes", *given).code == 0
        given = ()
    assert score["encrypted"] == score["plain"]


def test_from_python(operator: Path, photos: Path, key: Path, tmp_path: Path, tiny: Path) -> None:
    make_key_file(tmp_path / "new")
    recognizer = Recognizer(tiny, threshold=0.5)
    with package.Gallery(operator, recognizer=recognizer, key=key) as gallery:
        gallery.enroll("Ann", photos / "a.jpg")
        assert [one.name for one in gallery.identify(photos / "b.jpg").faces[0].candidates] == ["Ann"]
        assert gallery.verify(photos / "b.jpg", "Ann").templates == 1
        assert gallery.rotate_key(tmp_path / "new").templates == 1
        assert len(gallery.people()) == 1
        gallery.decrypt()
        assert len(gallery.people()) == 1
        assert not gallery.encrypt(key, names=True).pending
        assert gallery.verify(photos / "b.jpg", "Ann").templates == 1
    with package.Gallery(operator) as gallery, pytest.raises(NoKey):
        gallery.people()
    with package.Gallery(operator, key=bytes(32)) as gallery, pytest.raises(WrongKey):
        gallery.remove("Ann")

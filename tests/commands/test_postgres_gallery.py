"""Every command that takes a gallery takes one in PostgreSQL."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from made_galleries import CONTRACT, enroll, template
from small_photos import album_of_three, portrait, save, shade
from tiny_model import write_tiny_model

from facekd import Gallery, Recognizer
from facekd.gallery import GalleryRecords

if TYPE_CHECKING:
    from postgres_server import PostgresServer

SECRET = "hunter2"


@pytest.fixture
def url(postgres: PostgresServer) -> str:
    return postgres.new_database()


def answers(ran: Any) -> list[dict[str, Any]]:
    assert ran.code == 0, ran.err
    return [json.loads(line) for line in ran.out.splitlines()] if "}\n{" in ran.out else [json.loads(ran.out)]


def test_look_after_a_gallery(facekd: Callable[..., Any], url: str, tmp_path: Path) -> None:
    enroll(url, *((f"p{seed}", seed) for seed in range(6)))
    with GalleryRecords(url, CONTRACT) as records, records.transaction():
        records.add("p1", [template(100)])

    def ask(*arguments: object) -> dict[str, Any]:
        return answers(facekd("gallery", *arguments, "--gallery", url, "--json"))[0]

    assert len(ask("list")["people"]) == 6
    photos = ask("show", "p1")["photos"]
    assert len(photos) == 2
    assert ask("rename", "p0", "Ann")["name"] == "Ann"
    assert ask("merge", "Ann", "p2", "--yes")["moved"] == 1
    assert ask("remove", "p1", "--photo", photos[0]["id"], "--yes")["erasure"] == "done"
    removed = ask("remove", "p3", "--yes")
    assert (removed["gallery"], removed["erasure"]) == (url, "done")
    assert ask("stats")["people"] == 4
    checked = ask("check")
    assert (checked["whole"], checked["people"], checked["templates"]) == (True, 4, 5)
    assert ask("calibrate")["people"] == 4
    assert ask("dedupe")["suspected_doubles"] == []
    assert ask("erase")["erasure"] == "done"
    assert ask("export", tmp_path / "staff.jsonl", "--yes")["people"] == 4
    assert ask("import", tmp_path / "staff.jsonl")["present"] == 5
    audit = facekd("gallery", "audit", "--gallery", url, "--json")
    assert [json.loads(line)["action"] for line in audit.out.splitlines()][-4:] == [
        "merge", "merged", "remove_photo", "remove"
    ]  # fmt: skip
    copied = answers(facekd("gallery", "copy", url, tmp_path / "copy.db", "--json"))[0]
    assert (copied["people"], copied["removed_people"]) == (4, 2)
    backed_up = ask("backup", tmp_path / "backup.db")
    assert (backed_up["gallery"], backed_up["bytes"]) == (url, (tmp_path / "backup.db").stat().st_size)
    of_file = answers(facekd("gallery", "list", "--gallery", tmp_path / "backup.db", "--json"))[0]
    assert of_file["people"] == ask("list")["people"]


def test_encrypt_and_give_another_key(facekd: Callable[..., Any], url: str, tmp_path: Path) -> None:
    pytest.importorskip("cryptography")
    enroll(url, ("Ann", 1), ("Bo", 2))
    key, new = tmp_path / "key", tmp_path / "new"
    for file in (key, new):
        assert facekd("gallery", "new-key", file).code == 0

    def ask(*arguments: object) -> dict[str, Any]:
        return answers(facekd("gallery", *arguments, "--gallery", url, "--json"))[0]

    def refused(*arguments: object) -> tuple[int, str]:
        ran = facekd("gallery", *arguments, "--gallery", url, "--json")
        return ran.code, json.loads(ran.out)["failure"]["reason"]

    assert refused("encrypt") == (2, "no_key")
    assert refused("list", "--key-file", key) == (2, "usage")
    encrypted = ask("encrypt", "--key-file", key)
    assert (encrypted["templates"], encrypted["erasure"]) == (2, "done")
    for command in ("list", "stats", "erase"):
        assert refused(command) == (2, "no_key")
        assert refused(command, "--key-file", new) == (5, "wrong_key")
        assert ask(command, "--key-file", key)
    stats = ask("stats", "--key-file", key)
    assert (stats["people"], stats["encryption"], stats["key_id"]) == (
        2,
        "AES-256-GCM/1",
        encrypted["key_id"],
    )
    for given, decrypted in (((), False), (("--key-file", key), True)):
        checked = ask("check", *given)
        assert (checked["whole"], checked["encrypted"], checked["decrypted"]) == (True, True, decrypted)
    rotated = ask("rotate-key", "--key-file", key, "--new-key-file", new)
    assert (rotated["templates"], rotated["erasure"]) == (2, "done")
    assert refused("list", "--key-file", key) == (5, "wrong_key")
    assert refused("export", tmp_path / "staff.jsonl", "--yes", "--key-file", new) == (2, "usage")
    assert ask("export", tmp_path / "staff.jsonl", "--yes", "--plain", "--key-file", new)["people"] == 2
    assert ask("import", tmp_path / "staff.jsonl", "--key-file", new)["present"] == 2
    assert ask("decrypt", "--yes", "--key-file", new)["key_id"] is None
    assert len(ask("list")["people"]) == 2


def test_a_removal_that_is_pending_says_who_finishes_it(
    facekd: Callable[..., Any], postgres: PostgresServer, url: str
) -> None:
    import psycopg

    enroll(url, ("Ann", 1), ("Bo", 2))
    with psycopg.connect(url, autocommit=True) as other:
        other.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        other.execute("SELECT 1")
        ran = facekd("gallery", "remove", "Ann", "--yes", "--gallery", url)
        assert ran.code == 0
        assert "erasure pending" in ran.out
        assert "the owner runs 'facekd gallery erase'" in ran.err
        assert "pending" in facekd("gallery", "erase", "--gallery", url).out
    assert "nothing is left" in facekd("gallery", "erase", "--gallery", url).out


def test_a_password_in_the_url_is_refused_and_not_repeated(
    facekd: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    url = f"postgresql://ann:{SECRET}@h/staff"
    given = facekd("gallery", "list", "--gallery", url, "--json")
    copied = facekd("gallery", "copy", url, tmp_path / "x.db")
    monkeypatch.setenv("FACEKD_GALLERY", url)
    by_environment = facekd("gallery", "list")
    monkeypatch.delenv("FACEKD_GALLERY")
    (tmp_path / "facekd.toml").write_text(f'gallery = "{url}"\n')
    monkeypatch.setenv("FACEKD_CONFIG", str(tmp_path / "facekd.toml"))
    by_file = facekd("gallery", "list")
    for ran in (given, copied, by_environment, by_file):
        assert ran.code == 2
        assert "password" in ran.out + ran.err
        assert SECRET not in ran.out + ran.err
    assert json.loads(given.out)["failure"]["reason"] == "usage"
    assert "facekd.toml: gallery:" in by_file.err


def test_a_server_that_is_not_there_is_an_error_of_input_and_output(
    facekd: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pytest.importorskip("psycopg")
    monkeypatch.setattr("facekd.gallery.postgres.connecting.RETRY_SECONDS", 0.1)
    ran = facekd("gallery", "list", "--gallery", f"postgresql://ann@/staff?host={tmp_path}", "--json")
    assert ran.code == 5
    failure = json.loads(ran.out)["failure"]
    assert failure["reason"] == "io"
    assert "cannot be reached" in failure["message"]


def test_enroll_verify_and_identify(
    facekd: Callable[..., Any], url: str, photos: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FACEKD_MODEL", str(tiny))
    monkeypatch.setenv("FACEKD_GALLERY", url)
    face = photos / "a.jpg"
    assert answers(facekd("enroll", "Ann Lee", face, "--json"))[0]["gallery"] == url
    again = answers(facekd("enroll", "Ann Lee", face, "--json"))[0]
    assert (again["added"], again["present"]) == (0, 1)
    refused = facekd("enroll", "Bo", face, "--json")
    assert refused.code == 3
    assert "already enrolled as 'Ann Lee'" in refused.out
    claim = answers(facekd("verify", "--claim", "Ann Lee", face, "--threshold", "0.5", "--json"))[0]
    assert claim["gallery"] == url
    found = answers(facekd("identify", face, "--threshold", "0.5", "--json"))[0]
    assert found["gallery"] == url
    assert "Ann Lee" in json.dumps(found)
    doctor = facekd("doctor", "--json")
    told = [check for check in json.loads(doctor.out)["checks"] if check["name"] == url]
    assert any(check["message"].startswith("PostgreSQL ") for check in told)
    assert not [check for check in told if check["status"] == "fault"]


def test_from_a_file_of_settings_and_from_python(
    facekd: Callable[..., Any], url: str, photos: Path, tiny: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    enroll(url, ("Ann", 1))
    (tmp_path / "facekd.toml").write_text(f'gallery = "{url}"\n')
    monkeypatch.setenv("FACEKD_CONFIG", str(tmp_path / "facekd.toml"))
    ran = facekd("gallery", "list")
    assert ran.code == 0
    assert "Ann" in ran.out
    assert f"gallery: {url}" in ran.err
    with Gallery(url, recognizer=Recognizer(tiny)) as gallery:
        assert [person.name for person in gallery.people()] == ["Ann"]
        assert gallery.remove("Ann").pending is False
        assert str(gallery.path) == url
    monkeypatch.setenv("FACEKD_GALLERY", url)
    assert str(Gallery(recognizer=Recognizer(tiny)).path) == url


def test_the_roles_are_printed(facekd: Callable[..., Any]) -> None:
    ran = facekd("gallery", "roles")
    assert ran.code == 0
    for role in ("facekd_owner", "facekd_writer", "facekd_reader"):
        assert role in ran.out
    assert json.loads(facekd("gallery", "roles", "--json").out)["sql"].strip() == ran.out.strip()


def test_every_command_of_a_gallery_takes_a_database(
    facekd: Callable[..., Any], url: str, photos: Path, tiny: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    from facekd.cli.gallery import command

    pytest.importorskip("cryptography")
    monkeypatch.setenv("FACEKD_MODEL", str(tiny))
    monkeypatch.setenv("FACEKD_GALLERY", url)
    album, other = album_of_three(tmp_path / "album"), write_tiny_model(tmp_path / "other.onnx", seed=1)
    assert facekd("enroll", "--from", album).code == 0
    for step, name in enumerate(("Ann", "Zoe")):
        (tmp_path / "probes" / name).mkdir(parents=True)
        save(shade(portrait(), 9 + 2 * step), tmp_path / "probes" / name / "1.jpg")
    new, key = tmp_path / "new.key", tmp_path / "key"
    for file in (key, new):
        assert facekd("gallery", "new-key", file).code == 0
    by_key, by_new = ("--key-file", key), ("--key-file", new)
    calls: list[tuple[object, ...]] = [
        ("list",), ("show", "Ann"), ("audit",), ("check",), ("stats",), ("calibrate",), ("dedupe",),
        ("index",), ("evaluate", "--probes", tmp_path / "probes"), ("backup", tmp_path / "b.db"),
        ("copy", url, tmp_path / "c.db"),
        ("export", tmp_path / "a.jsonl", "--yes"), ("import", tmp_path / "a.jsonl"),
        ("rename", "Cy", "Di"), ("merge", "Ann", "Di", "--yes", "--force"), ("remove", "Bo", "--yes"),
        ("erase",), ("encrypt", *by_key), ("rotate-key", *by_key, "--new-key-file", new),
        ("re-embed", "--from", album, "--model", other, *by_new), ("decrypt", "--yes", *by_new), ("roles",),
    ]  # fmt: skip
    for call in calls:
        ran = facekd("gallery", *call)
        assert ran.code == 0, (call, ran.err)
    assert {str(call[0]) for call in calls} | {"new-key"} == set(command.commands)


def test_a_gallery_is_moved_to_another_model(
    facekd: Callable[..., Any], url: str, photos: Path, tiny: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("FACEKD_MODEL", str(tiny))
    monkeypatch.setenv("FACEKD_CACHE", str(tmp_path / "cache"))
    album, other = album_of_three(tmp_path / "album"), write_tiny_model(tmp_path / "o.onnx", seed=1, dim=48)
    assert facekd("enroll", "--from", album, "--gallery", url).code == 0
    call = ("gallery", "re-embed", "--from", album, "--model", other, "--gallery", url)
    (album / "Bo" / "1.jpg").rename(tmp_path / "bo.jpg")
    stopped = facekd(*call, "--json")
    assert (stopped.code, json.loads(stopped.out)["failure"]["reason"]) == (5, "not_moved")
    (tmp_path / "bo.jpg").rename(album / "Bo" / "1.jpg")
    copied = facekd(*call, "--out", tmp_path / "moved.db")
    assert copied.code == 0, copied.err
    moved = answers(facekd(*call, "--json"))[0]
    assert (moved["gallery"], moved["moved"], moved["dropped"]) == (url, 4, 0)
    assert (moved["erasure"], moved["index"], moved["failure"]) == ("done", None, None)
    assert list((tmp_path / "cache" / "galleries").glob(".facekd-*")) == []
    asked = ("identify", album / "Bo" / "1.jpg", "--model", other, "--threshold", "0.999", "--json")
    for place in (url, tmp_path / "moved.db"):
        found = facekd(*asked, "--gallery", place)
        assert json.loads(found.out)["candidates"][0]["name"] == "Bo"
    assert facekd("identify", album / "Bo" / "1.jpg", "--gallery", url, "--threshold", "0.9").code == 4
    assert facekd(*call).code == 2
    with Gallery(url, recognizer=Recognizer(tiny)) as gallery:
        again = gallery.re_embed(album)
    assert again.moved is not None
    assert (again.moved.templates, again.after.model) == (4, "tiny")

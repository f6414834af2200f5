"""gallery audit, check, stats, backup."""

import json
import sqlite3
from pathlib import Path

import pytest
from made_galleries import CONTRACT, embedding, enroll, name_as_typed

from facekd.gallery import GalleryRecords, Template


@pytest.fixture
def gallery(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "gallery.db"
    make(path)
    monkeypatch.setenv("FACEKD_GALLERY", str(path))
    return path


def make(path: Path) -> None:
    with GalleryRecords(path, CONTRACT, create=True) as records:
        for name, seed in (("Ann", 1), ("Bo", 2)):
            one = Template(embedding(seed), f"{seed:064x}", 0.5, "2024-01-02T03:04:05+00:00")
            with records.transaction():
                records.add(name, [one])
    enroll(path, ("Cy", 3))
    with GalleryRecords(path, CONTRACT) as records, records.transaction():
        records.add("Ann", [Template(embedding(4), f"{4:064x}", 1.0)])
        records.remove("Cy")
    db = sqlite3.connect(path)
    db.execute("UPDATE audit SET date = '2024-01-02T03:04:05+00:00' WHERE id <= 2")
    db.commit()
    db.close()


class TestAudit:
    def test_lines(self, facekd, gallery: Path) -> None:
        ran = facekd("gallery", "audit")
        assert ran.code == 0
        assert [line.split()[1:] for line in ran.out.splitlines()] == [
            ["add", "1", "1"], ["add", "2", "1"], ["add", "3", "1"], ["add", "1", "1"], ["remove", "3", "1"]
        ]  # fmt: skip

    def test_since_as_json_lines(self, facekd, gallery: Path) -> None:
        lines = facekd("gallery", "audit", "--since", "2024-01-03", "--json").out.splitlines()
        entries = [json.loads(line) for line in lines]
        assert [(entry["action"], entry["person"], entry["templates"]) for entry in entries] == [
            ("add", 3, 1), ("add", 1, 1), ("remove", 3, 1)
        ]  # fmt: skip
        assert {entry["schema"] for entry in entries} == {"gallery-audit/1"}
        # nobody has to say who they are to use the command line
        assert {entry["by"] for entry in entries} == {None}

    def test_who_asked(self, facekd, gallery: Path) -> None:
        with GalleryRecords(gallery, by="front-desk") as records, records.transaction():
            records.remove("Bo")
        lines = facekd("gallery", "audit").out.splitlines()
        assert lines[-1].split()[1:] == ["remove", "2", "1", "front-desk"]
        last = json.loads(facekd("gallery", "audit", "--json").out.splitlines()[-1])
        assert set(last) == {"schema", "gallery", "date", "action", "person", "templates", "by"}
        assert last["by"] == "front-desk"

    def test_pruning(self, facekd, gallery: Path, monkeypatch) -> None:
        prune = ("gallery", "audit", "--prune-before", "2024-06-01")
        monkeypatch.setattr("sys.stdin", open("/dev/null"))  # noqa: PTH123, SIM115
        assert facekd(*prune).code == 2
        ran = facekd(*prune, "--yes", "--json")
        assert json.loads(ran.out) == {
            "schema": "gallery-audit/1", "gallery": str(gallery), "pruned": 2,
            "before": "2024-06-01T00:00:00+00:00", "reads_only": False,
        }  # fmt: skip
        lines = facekd("gallery", "audit").out.splitlines()
        assert [line.split()[1:] for line in lines][-1] == ["prune", "0", "2"]
        assert len(lines) == 4

    def test_what_is_no_date(self, facekd, gallery: Path) -> None:
        for option in ("--since", "--prune-before"):
            ran = facekd("gallery", "audit", option, "last week")
            assert (ran.code, ran.out) == (2, "")
        assert facekd("gallery", "audit", "--since", "2024", "--prune-before", "2024").code == 2


class TestCheck:
    def test_a_whole_gallery(self, facekd, gallery: Path) -> None:
        ran = facekd("gallery", "check")
        assert (ran.code, ran.out) == (0, "")
        assert "2 people, 3 templates, no fault" in ran.err
        answer = json.loads(facekd("gallery", "check", "--json").out)
        assert (answer["whole"], answer["fault_count"], answer["faults"]) == (True, 0, [])

    def test_faults(self, facekd, gallery: Path) -> None:
        db = sqlite3.connect(gallery)
        db.execute("UPDATE templates SET quality = 2 WHERE person = 2")
        db.execute("UPDATE people SET name = 'a' || char(10) || 'template: none' WHERE id = 1")
        db.commit()
        db.close()
        ran = facekd("gallery", "check")
        assert ran.code == 5
        assert [line.split(":")[0] for line in ran.out.splitlines() if line[0] != " "] == [
            "name", "template", "template", "template"
        ]  # fmt: skip
        assert "    Remove it (facekd gallery remove Bo --photo 000000000000" in ran.out
        ran = facekd("gallery", "check", "--json")
        answer = json.loads(ran.out)
        assert (ran.code, answer["whole"], answer["fault_count"]) == (5, False, 4)
        assert [fault["kind"] for fault in answer["faults"]] == ["name", *["template"] * 3]

    def test_the_advice_helps(self, facekd, gallery: Path) -> None:
        name_as_typed(gallery, {"Bo": "a\nb"})
        db = sqlite3.connect(gallery)
        db.execute("UPDATE templates SET embedding = x'00' WHERE photo = ?", (f"{4:064x}",))
        db.commit()
        db.close()
        assert facekd("gallery", "check").code == 5
        photo = json.loads(facekd("gallery", "show", "Ann", "--json").out)["photos"][1]["id"]
        assert facekd("gallery", "remove", "Ann", "--photo", photo, "--yes").code == 0
        assert facekd("gallery", "rename", "a\nb", "Bo").code == 0
        assert facekd("gallery", "check").code == 0


def test_stats(facekd, gallery: Path) -> None:
    answer = json.loads(facekd("gallery", "stats", "--json").out)
    assert (answer["people"], answer["templates"], answer["removed_people"]) == (2, 3, 1)
    assert answer["photos_each"] == [{"photos": 1, "people": 1}, {"photos": 2, "people": 1}]
    assert [tenth["templates"] for tenth in answer["quality"]] == [0, 0, 0, 0, 0, 2, 0, 0, 0, 1]
    assert answer["first"] == "2024-01-02T03:04:05+00:00"
    assert answer["bytes"] == gallery.stat().st_size
    ran = facekd("gallery", "stats")
    assert "templates    3, enrolled 2024-01-02 to 20" in ran.out
    assert "Ann" not in ran.out


def test_backup(facekd, gallery: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.db"
    ran = facekd("gallery", "backup", copy, "--json")
    assert json.loads(ran.out)["bytes"] == copy.stat().st_size
    assert "Ann" in facekd("gallery", "list", "--gallery", copy).out
    assert facekd("gallery", "backup", copy).code == 2
    assert facekd("gallery", "backup", copy, "--force").code == 0
    assert facekd("gallery", "backup", gallery, "--force").code == 2

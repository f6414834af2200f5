"""Names of enrolled people."""

import sqlite3
from pathlib import Path

import pytest
from made_galleries import CONTRACT, enroll, name_as_typed, template

from facekd.errors import NotFound, Unreadable, UsageError
from facekd.gallery import NAME_LIMIT, GalleryRecords, clean_name


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "gallery.db"


class TestNames:
    def test_spellings_of_one_text_are_one_name(self, path: Path) -> None:
        composed, decomposed = "Ren\u00e9e", "Rene\u0301e"
        enroll(path, (composed, 1), (f"  {decomposed} ", 2))
        with GalleryRecords(path) as records:
            assert [(p.name, p.templates) for p in records.people()] == [(composed, 2)]
            assert len(records.templates(decomposed)) == 2

    @pytest.mark.parametrize(
        "name", ["王伟", "O'Neil; DROP TABLE people", "../../etc/passwd", "%s", "-rf", "می‌خواهم"]
    )
    def test_any_text(self, path: Path, name: str) -> None:
        enroll(path, (name, 1))
        assert [f.name for f in path.parent.iterdir()] == ["gallery.db"]
        with GalleryRecords(path) as records:
            assert records.people()[0].name == name

    @pytest.mark.parametrize(
        "name", ["", "  ", "a\nb", "a\x00b", "a\x1b[31mb", "\udcff", "a\u202eb", "x" * (NAME_LIMIT + 1)]
    )
    def test_refused(self, name: str) -> None:
        with pytest.raises(UsageError):
            clean_name(name)

    @pytest.mark.parametrize(
        "code",
        [
            0x00AD, 0x034F, 0x061C, 0x115F, 0x180E, 0x200B, 0x200C, 0x200D, 0x200E, 0x2028, 0x202A, 0x2060,
            0x2066, 0x2069, 0x2800, 0x3164, 0xD800, 0xE000, 0xFE0F, 0xFEFF, 0xFFA0, 0xFFFF, 0xE0041,
        ],
    )  # fmt: skip
    def test_what_does_not_show_is_refused(self, code: int) -> None:
        with pytest.raises(UsageError, match=f"U\\+{code:04X}"):
            clean_name(f"Ann{chr(code)}Lee")

    @pytest.mark.parametrize("space", ["  ", "\u00a0", "\u2003", "\u3000 ", "\u202f", "\u1680"])
    def test_white_space_is_one_space(self, path: Path, space: str) -> None:
        enroll(path, ("Ann Lee", 1), (f"Ann{space}Lee", 2), (f"{space}Ann Lee{space}", 3))
        with GalleryRecords(path) as records:
            assert [(p.name, p.templates) for p in records.people()] == [("Ann Lee", 3)]

    @pytest.mark.parametrize("name", ["می\u200cخواهم", "क्\u200dष", "क्\u200cष"])
    def test_joiners_stay_where_they_change_the_writing(self, name: str) -> None:
        assert clean_name(name) == name

    def test_names_of_0_1_0_are_found(self, path: Path) -> None:
        """It kept white space and invisible characters as they were typed."""
        old = ("Ann  Lee", "Ann\u00a0Lee", "Bob\u200b", "Cy\u3000Wu", "Di\u00a0Li", "Di Li")
        enroll(path, *((f"p{seed}", seed) for seed in range(len(old))))
        name_as_typed(path, {f"p{seed}": name for seed, name in enumerate(old)})
        with GalleryRecords(path, CONTRACT) as records:
            for seed, name in enumerate(old):
                assert records.templates(name)[0].photo == f"{seed:064x}"
                assert records.person(name).name == name
            assert records.person("Cy Wu").name == "Cy\u3000Wu"
            assert records.person("Di  Li").name == "Di Li"
            with pytest.raises(UsageError, match="2 people"):
                records.person("Ann Lee")
            with records.transaction():
                records.add("Cy Wu", [template(10)])
                records.remove("Ann  Lee")
                records.remove("Bob\u200b")
            assert records.person("Ann Lee").name == "Ann\u00a0Lee"
            assert records.person("Cy Wu").templates == 2
            assert len(records.people()) == 4

    def test_a_name_that_nobody_can_have_is_nobodys(self, path: Path) -> None:
        enroll(path, ("Ann", 1))
        with GalleryRecords(path) as records:
            for name in ("\udcff", "", "a\nb"):
                with pytest.raises(NotFound) as caught:
                    records.person(name)
                assert caught.value.cause.isprintable()

    def test_a_person_without_templates_is_damage(self, path: Path) -> None:
        enroll(path, ("Ann", 1))
        db = sqlite3.connect(path)
        db.execute("DELETE FROM templates")
        db.commit()
        db.close()
        with GalleryRecords(path) as records:
            assert records.people() == []
            assert records.person("Ann").templates == 0
            with pytest.raises(Unreadable, match="'Ann' has no template"):
                records.templates("Ann")
            with records.transaction():
                assert records.remove("Ann") == 0

    def test_not_found(self, path: Path) -> None:
        enroll(path, ("Ann", 1))
        with GalleryRecords(path) as records:
            for ask in (records.person, records.templates):
                with pytest.raises(NotFound) as caught:
                    ask("Bo")
                assert (caught.value.exit_code, caught.value.reason) == (2, "unknown_person")

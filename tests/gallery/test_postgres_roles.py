"""The roles of a gallery in PostgreSQL: owner, writer, reader."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from made_galleries import CONTRACT, enroll, template

from facekd.errors import InputOutput
from facekd.gallery import GalleryCheck, GalleryRecords, database_roles, gallery_place, look_at_server

if TYPE_CHECKING:
    from postgres_server import PostgresServer


class TestRoles:
    @pytest.fixture
    def team(self, postgres: PostgresServer, url: str) -> dict[str, str]:
        """The database as each of three users."""
        return postgres.team_of(url)

    def test_each_may_do_its_work_and_no_more(self, postgres: PostgresServer, team: dict[str, str]) -> None:
        for early in ("writer", "reader"):
            with pytest.raises(InputOutput, match="may not do that"):
                GalleryRecords(team[early], CONTRACT, create=True)
        enroll(team["owner"], ("Ann", 1), ("Bo", 2))
        enroll(team["writer"], ("Cy", 3))
        with GalleryRecords(team["reader"], read_only=True) as records:
            assert records.names() == ["Ann", "Bo", "Cy"]
            assert len(list(records.audit_entries())) == 3
            assert records.everybody().names == ("Ann", "Bo", "Cy")
            assert records.statistics().people == 3
        assert list(GalleryCheck(gallery_place(team["reader"])).faults()) == []
        with (
            pytest.raises(InputOutput, match="may not do that"),
            GalleryRecords(team["reader"], CONTRACT) as records,
            records.transaction(),
        ):
            records.add("Di", [template(4)])
        for user, statements in {
            "reader": ("DELETE FROM facekd.people", "UPDATE facekd.state SET word = ''"),
            "writer": (
                "DROP TABLE facekd.people", "UPDATE facekd.contract SET model = ''",
                "TRUNCATE facekd.people", "UPDATE facekd.audit SET person = 0", "CREATE TABLE facekd.mine ()",
                "CREATE TABLE public.mine ()", "DELETE FROM facekd.migrations",
                "INSERT INTO facekd.encryption VALUES ('', '', '', '')", "DELETE FROM facekd.encryption",
            ),
        }.items():  # fmt: skip
            for statement in statements:
                with pytest.raises(Exception, match=r"permission denied|must be owner"):
                    postgres.ask(statement, team[user])

    def test_a_writers_removal_waits_for_the_owner(
        self, postgres: PostgresServer, team: dict[str, str], url: str
    ) -> None:
        enroll(team["owner"], ("Ann", 1), ("Bo", 2))
        version = int(look_at_server(gallery_place(team["owner"])).version.partition(".")[0])
        with GalleryRecords(team["writer"]) as records, records.transaction():
            records.remove("Ann")
        assert records.pending is (version < 17)
        assert look_at_server(gallery_place(team["reader"])).erasures == int(version < 17)
        # by which the age of rows is no sign any more that the table was rewritten
        postgres.ask("VACUUM (FREEZE)", url)
        with GalleryRecords(team["writer"]) as records:
            assert records.erase() is (version >= 17)
        with GalleryRecords(team["owner"]) as records:
            assert records.erase() is True
        assert look_at_server(gallery_place(team["reader"])).erasures == 0

    def test_a_gallery_that_was_there_before_is_given_to_them(
        self, postgres: PostgresServer, url: str, request: pytest.FixtureRequest
    ) -> None:
        enroll(url, ("Ann", 1))
        team = request.getfixturevalue("team")
        enroll(team["writer"], ("Bo", 2))
        with GalleryRecords(team["owner"]) as records, records.transaction():
            records.remove("Ann")
        assert records.pending is False
        with GalleryRecords(team["reader"], read_only=True) as records:
            assert records.names() == ["Bo"]
        postgres.ask(database_roles(), url)  # as often as one likes

    def test_strangers_are_not_let_in(self, postgres: PostgresServer, team: dict[str, str], url: str) -> None:
        postgres.ask("DROP ROLE IF EXISTS stranger", url)
        postgres.ask("CREATE ROLE stranger LOGIN", url)
        enroll(team["owner"], ("Ann", 1))
        with pytest.raises(InputOutput, match="does not accept connections from this user"):
            GalleryRecords(url.replace("admin@", "stranger@"))

"""`GalleryCheck` finds damage in galleries in PostgreSQL."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from made_galleries import enroll

from facekd.gallery import GalleryCheck, gallery_place

if TYPE_CHECKING:
    from postgres_server import PostgresServer


@pytest.mark.parametrize(
    ("damage", "kind", "message"),
    [
        ("UPDATE templates SET checksum = ''", "template", "checksum does not match"),
        ("UPDATE people SET name = 'Bo'", "template", "checksum does not match"),
        ("UPDATE templates SET quality = 2", "template", "quality"),
        ("DELETE FROM templates", "no_template", "without a template"),
        ("UPDATE people SET uid = 'x'", "uid", "no usable uid"),
        ("DROP INDEX templates_by_photo", "schema", "index templates templates_by_photo is missing"),
        ("ALTER TABLE templates DISABLE TRIGGER USER", "schema", "trigger"),
        (
            "ALTER TABLE templates DROP CONSTRAINT templates_person_fkey; DELETE FROM people",
            "orphan", "no person",
        ),
        ("INSERT INTO removed_people SELECT uid, '', NULL FROM people", "tombstone", "enrolled and removed"),
        ("DELETE FROM contract", "contract", "missing"),
    ],
)  # fmt: skip
def test_check_finds_damage(postgres: PostgresServer, url: str, damage: str, kind: str, message: str) -> None:
    enroll(url, ("Ann", 1))
    place = gallery_place(url)
    assert list(GalleryCheck(place).faults()) == []
    if kind == "contract":
        damage = "ALTER TABLE templates DROP CONSTRAINT templates_space_fkey; " + damage
    postgres.ask(damage, f"{url}&options=-csearch_path%3Dfacekd")
    check = GalleryCheck(place)
    found = list(check.faults())
    assert any(fault.kind == kind and message in fault.message for fault in found), found

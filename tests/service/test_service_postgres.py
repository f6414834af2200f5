"""A service over a gallery in PostgreSQL gives the same answers, and works again when the server is back."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest

from facekd.gallery import ServerAddress, gallery_place
from facekd.gallery.postgres import connecting

if TYPE_CHECKING:
    from postgres_server import PostgresServer
    from starlette.testclient import TestClient


@pytest.fixture
def gallery(postgres: PostgresServer) -> ServerAddress:
    place = gallery_place(postgres.new_database())
    assert isinstance(place, ServerAddress)
    return place


def enroll(client: TestClient, name: str, photo: Path) -> int:
    files = [("photos", (photo.name, photo.read_bytes(), "image/jpeg"))]
    return client.post(f"/v1/people/{quote(name, safe='')}/photos", files=files).status_code


def test_it_answers_as_over_a_file(client: TestClient, gallery: ServerAddress, photos: Path) -> None:
    assert enroll(client, "Ann Lee", photos / "a.jpg") == 200
    assert enroll(client, "Bo", photos / "a.jpg") == 409
    face = {"photo": ("b.jpg", (photos / "b.jpg").read_bytes(), "image/jpeg")}
    claim = client.post("/v1/verify", files=face, data={"name": "Ann Lee"})
    assert claim.status_code == 200
    assert claim.json()["same"] is True
    found = client.post("/v1/identify", files=face)
    assert found.status_code == 200
    people = client.get("/v1/people").json()
    assert [person["name"] for person in people["people"]] == ["Ann Lee"]
    assert people["gallery"] == gallery.name
    for answer in (claim, found):  # where the database is, is nobody's business
        assert str(gallery) not in answer.text
    assert client.delete("/v1/people/Ann%20Lee").json()["erasure"] == "done"
    assert client.get("/v1/people/Ann%20Lee").status_code == 404


def test_a_server_that_goes_away_and_comes_back(
    client: TestClient, postgres: PostgresServer, gallery: ServerAddress, photos: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    assert enroll(client, "Ann Lee", photos / "a.jpg") == 200
    monkeypatch.setattr(connecting, "RETRY_SECONDS", 0.1)
    postgres.stop()
    try:
        answers = [client.get("/v1/people"), client.get("/readyz"), client.delete("/v1/people/Ann%20Lee")]
    finally:
        postgres.start()
    for answer in answers:
        assert answer.status_code == 503
        assert int(answer.headers["retry-after"]) > 0
        assert str(gallery) not in answer.text
    assert client.get("/readyz").status_code == 200
    assert [person["name"] for person in client.get("/v1/people").json()["people"]] == ["Ann Lee"]

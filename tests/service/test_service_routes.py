"""Every route: the documents are those of the commands, the changes are in the gallery."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from service_requests import enroll, photo, whole, without

from facekd.gallery import GalleryRecords

pytest.importorskip("fastapi", reason="the extra 'service' is not installed")

from facekd.service import models


def test_two_photos_get_the_answer_of_the_command(
    facekd: Callable, client: Any, photos: Path, model: Path
) -> None:
    files = {"photo": photo(photos / "a.jpg"), "other": photo(photos / "mirrored.jpg")}
    answer = client.post("/v1/verify", files=files)
    assert answer.status_code == 200, answer.text
    command = json.loads(
        facekd("verify", photos / "a.jpg", photos / "mirrored.jpg", "-m", model, "--json").out
    )
    told = answer.json()
    assert without(told, "photos") == without(command, "photos", "gallery")
    for here, there in zip(told["photos"], command["photos"], strict=True):
        assert without(here, "path") == without(there, "path")
    assert [one["path"] for one in told["photos"]] == ["the first photo", "the second photo"]
    whole(models.Verification, told)


def test_enroll_claim_search_list_show_and_remove_are_those_of_the_commands(
    facekd: Callable, client: Any, photos: Path, model: Path, gallery: Path
) -> None:
    answer = enroll(client, "Ann Lee", photos / "a.jpg", photos / "b.jpg", photos / "blank.jpg")
    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert (told["schema"], told["added"], told["templates"]) == ("enroll/1", 2, 2)
    assert [(f["photo"], f["reason"]) for f in told["failures"]] == [("photo 3", "no_face")]
    whole(models.Enrollment, told)
    on = ("-m", model, "-g", gallery, "--json")

    claim = client.post(
        "/v1/verify", files={"photo": photo(photos / "c.jpg")}, data={"name": "Ann Lee"}
    ).json()
    command = json.loads(facekd("verify", "--claim", "Ann Lee", photos / "c.jpg", *on).out)
    assert without(claim, "photos") == without(command, "photos", "gallery")
    assert claim["photos"][0]["path"] == "the photo"
    whole(models.Verification, claim)

    found = client.post("/v1/identify", files={"photo": photo(photos / "c.jpg")}).json()
    command = json.loads(facekd("identify", photos / "c.jpg", *on).out)
    assert without(found, "photo") == without(command, "photo", "gallery")
    assert found["candidates"][0]["name"] == "Ann Lee"
    whole(models.Identification, found)

    people = client.get("/v1/people").json()
    command = json.loads(facekd("gallery", "list", "-g", gallery, "--json").out)
    assert people == command | {"gallery": "staff.db"}
    whole(models.People, people)

    person = client.get("/v1/people/Ann%20Lee").json()
    command = json.loads(facekd("gallery", "show", "Ann Lee", "-g", gallery, "--json").out)
    assert person == without(command, "gallery")
    whole(models.Person, person)

    removed = client.delete("/v1/people/Ann%20Lee")
    assert removed.json() == {
        "schema": "gallery-remove/1", "name": "Ann Lee", "templates": 2, "erasure": "done"
    }  # fmt: skip
    whole(models.Removal, removed.json())
    assert client.get("/v1/people").json()["people"] == []


def test_every_face_is_searched_where_that_is_asked_for(client: Any, photos: Path) -> None:
    enroll(client, "Ann", photos / "a.jpg")
    files = {"photo": photo(photos / "two.jpg")}
    answer = client.post("/v1/identify", files=files, params={"all_faces": True, "top": 1}).json()
    assert len(answer["faces"]) == 2
    assert all(len(face["candidates"]) == 1 for face in answer["faces"])


def test_names_are_keys_and_never_paths_or_sql(client: Any, photos: Path, gallery: Path) -> None:
    names = ["../../etc/passwd", "Ann'; DROP TABLE people; --", "a/b", "%", "Ann/photos"]
    before = sorted(gallery.parent.parent.iterdir())
    for place, name in enumerate(names):
        answer = enroll(client, quote(name, safe=""), photos / "a.jpg", force=True)
        # the photo belongs to whoever had it first
        assert answer.status_code == (200 if place == 0 else 409), answer.text
        shown = client.get(f"/v1/people/{quote(name, safe='')}")
        assert shown.status_code == (200 if place == 0 else 404)
    with GalleryRecords(gallery, read_only=True) as records:
        assert records.names() == ["../../etc/passwd"]
    assert sorted(gallery.parent.parent.iterdir()) == before


def test_the_state(client: Any, gallery: Path) -> None:
    assert client.get("/healthz").json() == {"status": "ok"}
    assert client.get("/readyz").json() == {"status": "ready"}
    gallery.rename(gallery.with_name("away.db"))
    away = client.get("/readyz")
    assert (away.status_code, away.headers["retry-after"]) == (503, "5")
    assert client.get("/healthz").status_code == 200
    gallery.with_name("away.db").rename(gallery)
    assert client.get("/readyz").status_code == 200


def test_metrics_count_by_route_and_name_nobody(client: Any, photos: Path) -> None:
    enroll(client, "Ann Lee", photos / "a.jpg")
    client.get("/v1/people/Ann%20Lee")
    client.get("/v1/people/Bo")
    told = client.get("/metrics").text
    assert 'facekd_requests_total{method="GET",route="/v1/people/{name}",status="200"} 1.0' in told
    assert 'facekd_requests_total{method="GET",route="/v1/people/{name}",status="404"} 1.0' in told
    assert 'route="/v1/people/{name}/photos",status="200"} 1.0' in told
    assert "facekd_places_taken 0.0" in told
    assert "Ann" not in told

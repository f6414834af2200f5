"""Every class of failure: its status and its document; hostile requests."""

from __future__ import annotations

import io
import threading
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from service_requests import enroll, photo
from tiny_model import write_tiny_model

from facekd.gallery import GalleryRecords, key_from_file, make_key_file
from facekd.workflows import Recognizer, encrypt_gallery, rotate_key

pytest.importorskip("fastapi", reason="the extra 'service' is not installed")

from starlette.testclient import TestClient

from facekd.service import models


def failed(answer: Any, status: int, reason: str) -> dict:
    assert answer.status_code == status, answer.text
    document = answer.json()
    assert (document["schema"], document["failure"]["reason"]) == ("failure/1", reason)
    assert document["failure"]["message"]
    assert "Traceback" not in answer.text
    model = models.FailureDocument.model_validate(document)
    assert model.model_dump(by_alias=True, exclude_unset=True) == document
    return document


@pytest.mark.parametrize(
    ("file", "status", "reason"),
    [
        ("blank.jpg", 422, "no_face"),
        ("cut.jpg", 415, "unreadable"),
        ("text.jpg", 415, "unreadable"),
        ("empty.jpg", 415, "unreadable"),
    ],
)
def test_a_photo_that_cannot_be_used(
    client: TestClient, photos: Path, file: str, status: int, reason: str
) -> None:
    enroll(client, "Ann", photos / "a.jpg")
    sent = {"photo": photo(photos / file)}
    failed(client.post("/v1/identify", files=sent), status, reason)
    failed(client.post("/v1/verify", files=sent, data={"name": "Ann"}), status, reason)
    both = client.post("/v1/verify", files=sent | {"other": photo(photos / "a.jpg")})
    assert failed(both, status, reason)["failure"]["photo"] == "the first photo"
    document = failed(enroll(client, "Bo", photos / file), status, reason)
    assert [one["photo"] for one in document["failures"]] == ["photo 1"]


def test_nobody_of_that_name(client: TestClient, photos: Path, gallery: Path) -> None:
    enroll(client, "Ann", photos / "a.jpg")
    sent = {"photo": photo(photos / "a.jpg")}
    answers = [
        client.get("/v1/people/Bo"), client.delete("/v1/people/Bo"),
        client.post("/v1/verify", files=sent, data={"name": "Bo"}),
    ]  # fmt: skip
    for answer in answers:
        document = failed(answer, 404, "unknown_person")
        assert str(gallery.parent) not in document["failure"]["message"]


def test_photos_of_somebody_else_are_a_conflict(client: TestClient, photos: Path) -> None:
    enroll(client, "Ann", photos / "a.jpg")
    failed(enroll(client, "Bo", photos / "a.jpg"), 409, "other_person")
    failed(enroll(client, "Ann", photos / "mirrored.jpg"), 409, "not_this_person")


def test_a_gallery_of_another_space_is_a_conflict(
    client: TestClient, photos: Path, gallery: Path, tmp_path: Path
) -> None:
    other = Recognizer(write_tiny_model(tmp_path / "other.onnx", seed=1))
    gallery.unlink()
    GalleryRecords(gallery, other.contract, create=True).close()
    document = failed(client.post("/v1/identify", files={"photo": photo(photos / "a.jpg")}), 409, "misfit")
    assert str(gallery.parent) not in document["failure"]["message"]
    failed(enroll(client, "Ann", photos / "a.jpg"), 409, "misfit")
    failed(client.get("/readyz"), 409, "misfit")


def test_a_gallery_that_went_away_is_missing_and_not_made_anew(
    client: TestClient, photos: Path, gallery: Path
) -> None:
    gallery.unlink()
    for answer in (
        enroll(client, "Ann", photos / "a.jpg"), client.get("/v1/people"), client.delete("/v1/people/Ann"),
        client.post("/v1/identify", files={"photo": photo(photos / "a.jpg")}),
    ):  # fmt: skip
        document = failed(answer, 503, "io")
        assert answer.headers["retry-after"] == "5"
        assert str(gallery.parent) not in str(document)
    assert not gallery.exists()
    gallery.write_bytes(b"no gallery" * 1000)
    failed(client.get("/v1/people"), 503, "unreadable")


def test_an_encrypted_gallery_goes_on_when_the_service_has_its_key_again(
    client: TestClient, photos: Path, gallery: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("cryptography")
    assert enroll(client, "Ann", photos / "a.jpg").status_code == 200
    key, new = tmp_path / "key", tmp_path / "new"
    for file in (key, new):
        make_key_file(file)
    encrypt_gallery(gallery, key_from_file(key))
    failed(client.get("/v1/people"), 503, "no_key")
    monkeypatch.setenv("FACEKD_GALLERY_KEY_FILE", str(key))
    assert client.get("/v1/people").json()["people"][0]["name"] == "Ann"
    rotate_key(gallery, key_from_file(new))
    answer = client.post("/v1/identify", files={"photo": photo(photos / "a.jpg")})
    assert str(tmp_path) not in str(failed(answer, 503, "wrong_key"))
    new.replace(key)
    answer = client.post("/v1/identify", files={"photo": photo(photos / "a.jpg")})
    assert answer.json()["faces"][0]["candidates"][0]["name"] == "Ann"


@pytest.mark.parametrize("name", ["", " ", "a" * 201, "a%00b", "a%E2%80%AEb"])
def test_a_name_that_cannot_be(client: TestClient, photos: Path, name: str) -> None:
    failed(enroll(client, name, photos / "a.jpg"), 422, "usage")


def test_forms_that_ask_for_nothing(client: TestClient, photos: Path) -> None:
    one = ("photo", photo(photos / "a.jpg"))
    for files, data in (
        ([one], {}), ([one, one], {"name": "Ann"}), ([one, ("other", one[1])], {"name": "Ann"}),
        ([one, ("third", one[1])], {}), ([one], {"name": "Ann", "colour": "red"}),
        ([("name", one[1]), one], {}), ([one], {"photo": "text"}), ([one], {"name": ["Ann", "Bo"]}),
    ):  # fmt: skip
        failed(client.post("/v1/verify", files=files, data=data), 422, "usage")
    failed(client.post("/v1/identify", files=[one], params={"top": 0}), 422, "usage")
    failed(enroll(client, "Ann", photos / "a.jpg", on_many="all"), 422, "usage")
    failed(client.post("/v1/people/Ann/photos", files=[("photos", ("", b""))]), 422, "usage")


def test_what_is_no_form(client: TestClient) -> None:
    deep = b"[" * 1_000_000
    failed(client.post("/v1/verify", content=deep, headers={"content-type": "application/json"}), 415,
           "media_type")  # fmt: skip
    failed(client.post("/v1/verify"), 415, "media_type")
    for kind in ("multipart/form-data", "multipart/form-data; boundary=" + "x" * 500):
        answer = client.post("/v1/verify", content=b"--x\r\n", headers={"content-type": kind})
        failed(answer, 422, "usage")
    body = b"--x\r\nContent-Disposition: form-data\r\n\r\n1\r\n--x--\r\n"
    answer = client.post(
        "/v1/verify", content=body, headers={"content-type": "multipart/form-data; boundary=x"}
    )
    failed(answer, 422, "usage")


def part(header: bytes, body: bytes = b"1") -> bytes:
    return b"--x\r\nContent-Disposition: form-data; " + header + b"\r\n\r\n" + body + b"\r\n"


@pytest.mark.parametrize(
    ("body", "status", "reason"),
    [
        (b"".join(part(b'name="photo"; filename="p"') for _ in range(1000)) + b"--x--", 413, "too_many"),
        (b"".join(part(b'name="f%d"' % n) for n in range(1000)) + b"--x--", 422, "usage"),
        (part(b'name="name"', b"n" * 100_000) + b"--x--", 422, "usage"),
        (b"--x\r\n" + b"".join(b"h%d: 1\r\n" % n for n in range(10_000)) + b"\r\n", 422, "usage"),
        (b"--x\r\nh: " + b"1" * 500_000, 422, "usage"),
        (b"--x\r\n" * 20_000, 422, "usage"),
    ],
    ids=["files", "fields", "field", "headers", "header", "boundaries"],
)
def test_multipart_bombs(client: TestClient, body: bytes, status: int, reason: str) -> None:
    answer = client.post(
        "/v1/verify", content=body, headers={"content-type": "multipart/form-data; boundary=x"}
    )
    failed(answer, status, reason)


def test_a_picture_that_grows_when_it_is_decoded(client: TestClient) -> None:
    """A few kilobytes that stand for a picture of 60,000 x 60,000 pixels."""
    small = io.BytesIO()
    Image.new("RGB", (1, 1)).save(small, "PNG")
    head = (60_000).to_bytes(4, "big") * 2 + small.getvalue()[24:29]
    chunk = b"IHDR" + head
    bomb = small.getvalue()[:12] + chunk + zlib.crc32(chunk).to_bytes(4, "big") + small.getvalue()[33:]
    failed(client.post("/v1/identify", files={"photo": ("p.png", bomb)}), 413, "too_large")


def test_too_many_bytes(made: Callable, photos: Path) -> None:
    client, _ = made(max_upload=5000)
    failed(enroll(client, "Ann", photos / "a.jpg"), 413, "too_large")
    kind = {"content-type": "multipart/form-data; boundary=x"}
    for length in ("99999999999999999999999999", "-1", "٣"):
        answer = client.post("/v1/identify", content=b"", headers=kind | {"content-length": length.encode()})
        failed(answer, 413, "too_large")


def test_a_full_queue_is_told_to_come_back(made: Callable, photos: Path, recognizer: Recognizer) -> None:
    client, service = made(workers=1, queue=0)
    sent, done = {"photo": photo(photos / "a.jpg"), "other": photo(photos / "b.jpg")}, []
    with recognizer._looking:
        first = threading.Thread(target=lambda: done.append(client.post("/v1/verify", files=sent)))
        first.start()
        for _ in range(500):
            if service.admission.taken:
                break
            threading.Event().wait(0.01)
        busy = client.post("/v1/verify", files=sent)
        failed(busy, 429, "busy")
        assert busy.headers["retry-after"] == "5"
        assert client.get("/healthz").status_code == 200
    first.join()
    assert done[0].status_code == 200
    assert client.post("/v1/verify", files=sent).status_code == 200


def test_requests_at_once_get_their_own_answers(made: Callable, photos: Path) -> None:
    client, _ = made(workers=4)
    pairs = [(photos / a, photos / b) for a, b in (("a.jpg", "b.jpg"), ("a.jpg", "mirrored.jpg"))]
    sent = [{"photo": photo(a), "other": photo(b)} for a, b in pairs]
    alone = [client.post("/v1/verify", files=files).json() for files in sent]
    assert alone[0]["score"] != alone[1]["score"]
    found: dict[int, dict] = {}

    def ask(number: int) -> None:
        found[number] = client.post("/v1/verify", files=sent[number % 2]).json()

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [found[number] for number in range(12)] == alone * 6


def test_a_bug_shows_no_trace(client: TestClient, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*arguments: object) -> None:
        raise ZeroDivisionError("of a photo of Ann")

    monkeypatch.setattr(Recognizer, "verify", broken)
    sent = {"photo": photo(photos / "a.jpg"), "other": photo(photos / "b.jpg")}
    answer = client.post("/v1/verify", files=sent)
    document = failed(answer, 500, "internal")
    assert "Ann" not in str(document)
    monkeypatch.setattr(Recognizer, "verify", lambda *_: (_ for _ in ()).throw(MemoryError()))
    failed(client.post("/v1/verify", files=sent), 503, "out_of_memory")


def test_other_paths_and_methods(client: TestClient) -> None:
    failed(client.get("/v1/nothing"), 404, "not_found")
    failed(client.get("/docs"), 404, "not_found")
    for path, allowed in (
        ("/v1/people", "GET"), ("/v1/people/Bo", "DELETE, GET"), ("/v1/people/Bo/photos", "POST"),
        ("/openapi.json", "GET, HEAD"),
    ):  # fmt: skip
        answer = client.put(path)
        failed(answer, 405, "method")
        assert sorted(answer.headers["allow"].split(", ")) == allowed.split(", ")


def test_every_answer_carries_the_security_headers(client: TestClient) -> None:
    for path in ("/healthz", "/v1/people", "/v1/nothing", "/v1/people/Bo"):
        headers = client.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"
        assert headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"


def test_no_photo_reaches_the_disk(
    client: TestClient, photos: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A body of megabytes would be rolled to a temporary file by default."""
    import tempfile

    def refuse(*arguments: object, **options: object) -> None:
        raise AssertionError("a file was written")

    monkeypatch.setattr(tempfile.SpooledTemporaryFile, "rollover", refuse)
    padded = (photos / "a.jpg").read_bytes() + bytes(5_000_000)
    answer = client.post("/v1/identify", files={"photo": ("a.jpg", padded)})
    assert answer.status_code == 200, answer.text

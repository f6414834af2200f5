"""The service as a process: sockets and signals."""

from __future__ import annotations

import json
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from running_service import Running
from service_requests import enroll, photo

pytest.importorskip("fastapi", reason="the extra 'service' is not installed")

import httpx2

_LIMITED = """
import sys
from pathlib import Path
from facekd.service import ServiceSettings, run_service
from facekd.workflows import Recognizer
settings = ServiceSettings(Path(sys.argv[2]), port=0, max_upload=1_000_000, head_seconds=3)
run_service(Recognizer(sys.argv[1]), settings)
"""


@pytest.fixture(scope="module")
def limited(model: Path, photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A service that takes a megabyte in a request and waits three seconds for the head of one, for tests
    that leave it as it was; it may have thousands of open files, as may these tests."""
    folder = tmp_path_factory.mktemp("limited")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 4096 if hard == resource.RLIM_INFINITY else min(4096, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    command = [sys.executable, "-c", _LIMITED, model, folder / "staff.db"]
    running = Running([str(part) for part in command], folder / "log")
    yield running
    running.client.close()
    running.process.kill()
    running.process.communicate()
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_it_answers_and_ends_when_it_is_told_to(
    serve: Callable[..., Running], photos: Path, gallery: Path
) -> None:
    running = serve("--json")
    assert enroll(running.client, "Ann", photos / "a.jpg").status_code == 200
    answer = running.client.post("/v1/identify", files={"photo": photo(photos / "a.jpg")})
    assert answer.json()["name"] in ("Ann", None)
    assert "server" not in answer.headers
    assert running.stop() == 0
    assert json.loads(running.process.stdout.read()) == {
        "schema": "serve/1", "stopped": True, "finished": True
    }  # fmt: skip
    assert "Traceback" not in running.log()
    assert oct(gallery.stat().st_mode)[-3:] == "600"
    assert not list(gallery.parent.glob("*-wal"))


def test_what_was_accepted_is_finished(serve: Callable[..., Running], photos: Path) -> None:
    """The signal comes while requests are worked on, and while one still arrives."""
    running = serve("--workers", "1")
    body = (photos / "a.jpg").read_bytes()
    head, rest = _upload("Slow", body)
    slow = running.connect()
    slow.sendall(head + rest[:100])
    answers: list[int] = []

    def ask(number: int) -> None:
        given = {"photos": ("p", body + bytes([number]))}
        answers.append(
            running.client.post("/v1/people/Ann/photos", files=given, params={"force": True}).status_code
        )

    asking = [threading.Thread(target=ask, args=(number,)) for number in range(6)]
    for one in asking:
        one.start()
    _wait_until(lambda: "facekd_places_taken 7.0" in running.client.get("/metrics").text or answers)
    running.process.send_signal(signal.SIGTERM)
    time.sleep(0.5)
    slow.sendall(rest[100:])
    assert b" 200 OK" in slow.recv(100)
    for one in asking:
        one.join()
    assert answers == [200] * 6
    assert running.process.wait(60) == 0
    with pytest.raises(ConnectionRefusedError):
        running.connect()


def test_processes_share_nothing_but_the_records(serve: Callable[..., Running], photos: Path) -> None:
    """What one of them changes, the other sees with its next request, and both give the same answers."""
    one, other = serve(), serve()
    assert enroll(one.client, "Ann", photos / "a.jpg").json()["added"] == 1
    assert enroll(other.client, "Ann", photos / "b.jpg").json()["templates"] == 2
    # one photo under two names, asked of two processes
    assert enroll(other.client, "Bo", photos / "a.jpg").status_code == 409
    for ask in (
        lambda client: client.get("/v1/people"),
        lambda client: client.get("/v1/people/Ann"),
        lambda client: client.post("/v1/identify", files={"photo": photo(photos / "c.jpg")}),
        lambda client: client.post(
            "/v1/verify", files={"photo": photo(photos / "c.jpg")}, data={"name": "Ann"}
        ),
    ):
        answers = [ask(running.client) for running in (one, other)]
        assert [answer.status_code for answer in answers] == [200, 200]
        assert answers[0].json() == answers[1].json()
    assert one.client.delete("/v1/people/Ann").json()["erasure"] == "done"
    assert other.client.get("/v1/people/Ann").status_code == 404
    found = other.client.post("/v1/identify", files={"photo": photo(photos / "a.jpg")}).json()
    assert found["candidates"] == []


def test_half_requests_and_idle_connections_are_let_go(limited: Running) -> None:
    """A thousand connections that say nothing, or half of something, are closed; others are served."""
    if resource.getrlimit(resource.RLIMIT_NOFILE)[0] < 4096:
        pytest.skip("too few open files are allowed here")
    before = limited.resident()
    idle = [limited.connect() for _ in range(1000)]
    for number, one in enumerate(idle):
        one.sendall((b"", b"GET /healthz HTTP/1.1\r\nHost: 127", b"\x16\x03\x01\x00")[number % 3])
    assert limited.client.get("/healthz").status_code == 200
    assert limited.resident() < before + 100_000_000
    deadline = time.monotonic() + 30
    for one in idle:
        one.settimeout(max(0.1, deadline - time.monotonic()))
        # closed, or told that it is no request and closed
        assert one.recv(1000) == b"" or one.recv(1000) == b""
        one.close()
    assert limited.client.get("/readyz").status_code == 200


def test_a_slow_body_is_given_up(served: Callable[..., int], photos: Path) -> None:
    port = served(upload_seconds=0.5, queue=0, workers=1)
    head, rest = _upload("Ann", (photos / "a.jpg").read_bytes())
    with socket.create_connection(("127.0.0.1", port), timeout=30) as slow:
        slow.sendall(head + rest[:100])
        answer = b"".join(iter(lambda: slow.recv(10_000), b""))
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b'"reason": "too_slow"' in answer
    with httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
        # its place is free again
        assert enroll(client, "Ann", photos / "a.jpg").status_code == 200


def test_a_client_that_goes_away_leaves_its_place(served: Callable[..., int], photos: Path) -> None:
    port = served(queue=0, workers=1)
    head, rest = _upload("Ann", (photos / "a.jpg").read_bytes())
    with socket.create_connection(("127.0.0.1", port), timeout=30) as gone:
        gone.sendall(head + rest[:100])
    with httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
        _wait_until(lambda: "facekd_places_taken 0.0" in client.get("/metrics").text)
        assert client.get("/v1/people").json()["people"] == []


@pytest.mark.parametrize(
    ("path", "begin", "status"),
    [
        ("/v1/identify", b'--x\r\nContent-Disposition: form-data; name="photo"; filename="p"\r\n\r\n', 413),
        ("/v1/identify", b"no form at all\r\n", 422),
        ("/v1/nothing", b"", 404),
    ],
)
def test_a_body_without_end_is_not_read_for_ever(
    limited: Running, path: str, begin: bytes, status: int
) -> None:
    before, started, told = limited.resident(), time.monotonic(), _told(limited, status)
    endless = limited.connect()
    endless.sendall(
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n"
        "Content-Type: multipart/form-data; boundary=x\r\n\r\n".encode()
    )
    if begin:
        endless.sendall(b"%x\r\n%s\r\n" % (len(begin), begin))
    with pytest.raises(OSError, match=r"reset|pipe"):
        _send_until(endless, started + 30)
    assert limited.resident() < before + 50_000_000
    _wait_until(lambda: _told(limited, status) == told + 1)


def test_whoever_sends_too_much_reads_why(limited: Running) -> None:
    """Though the answer is there long before the photo is."""
    answer = limited.client.post("/v1/identify", files={"photo": ("p", bytes(20_000_000))})
    assert (answer.status_code, answer.headers["connection"]) == (413, "close")
    assert answer.json()["failure"]["reason"] == "too_large"


def test_a_port_that_is_taken_and_a_gallery_that_is_none(
    facekd: Callable, model: Path, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ran = facekd("serve", "--port", port, "-m", model, "-g", tmp_path / "other.db", "--json")
    assert (ran.code, json.loads(ran.out)["failure"]["reason"]) == (5, "io")
    (tmp_path / "text.db").write_text("no gallery")
    ran = facekd("serve", "--port", 0, "-m", model, "-g", tmp_path / "text.db", "--json")
    assert (ran.code, json.loads(ran.out)["failure"]["reason"]) == (5, "unreadable")


def test_help_and_other_commands_import_no_server(tmp_path: Path) -> None:
    code = (
        "import sys; from facekd.cli.main import main; "
        "[main(words) for words in (['--help'], ['serve', '--help'], ['gallery', 'list', '-g', 'x'])]; "
        "sys.exit(bool({'fastapi', 'starlette', 'uvicorn', 'facekd.service'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=_env()).returncode == 0


def _told(running: Running, status: int) -> float:
    """How many requests were answered with ``status``."""
    counts = re.findall(
        rf'^facekd_requests_total{{.*status="{status}".*}} (\S+)$',
        running.client.get("/metrics").text,
        re.MULTILINE,
    )
    return sum(map(float, counts))


def _env() -> dict[str, str]:
    root = str(Path(__file__).parent.parent.parent)
    return os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))}


def _upload(name: str, content: bytes) -> tuple[bytes, bytes]:
    """The head and the body of a request that enrolls ``name`` ."""
    body = (
        b'--x\r\nContent-Disposition: form-data; name="photos"; filename="p"\r\n\r\n'
        + content
        + b"\r\n--x--\r\n"
    )
    head = (
        f"POST /v1/people/{name}/photos?force=true HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        f"Content-Length: {len(body)}\r\n"
        "Content-Type: multipart/form-data; boundary=x\r\n\r\n"
    )
    return head.encode(), body


def _send_until(connection: socket.socket, deadline: float) -> None:
    while time.monotonic() < deadline:
        connection.sendall(b"10000\r\n" + bytes(0x10000) + b"\r\n")


def _wait_until(true: Callable[[], object]) -> None:
    for _ in range(3000):
        if true():
            return
        time.sleep(0.02)
    raise AssertionError("it did not happen")

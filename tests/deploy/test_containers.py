"""The container file and the compose file: what they name is there. No image is built or pulled."""

from __future__ import annotations

import json
import os
import pwd
import re
import shutil
import subprocess
import tempfile
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from facekd.cli.serve import command as serve
from facekd.service import ServiceSettings

yaml = pytest.importorskip("yaml", reason="PyYAML, which comes with mkdocs, is not installed")
ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
PROGRAMS = Path("/usr/lib/postgresql/15/bin")


def stages() -> dict[str, list[str]]:
    """The instructions of the container file by stage, each on one line."""
    text = (DEPLOY / "Containerfile").read_text().replace("\\\n", " ")
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        if line.startswith("FROM "):
            stage = line.split()[3]
            found[stage] = []
        if line and not line.startswith("#"):
            found[stage].append(line)
    return found


@pytest.fixture
def compose() -> dict[str, Any]:
    return yaml.safe_load((DEPLOY / "compose.yaml").read_text())


def instructions(kind: str) -> list[str]:
    return [line for lines in stages().values() for line in lines if line.startswith(kind + " ")]


def command_of(stage: str) -> list[str]:
    (found,) = [line for line in stages()[stage] if line.startswith("CMD ")]
    return json.loads(found.removeprefix("CMD "))


def test_every_image_is_made_here_of_debian(compose: dict[str, Any]) -> None:
    made = set(stages())
    for line in instructions("FROM"):
        assert line.split()[1] in made | {"debian:12-slim"}
    for name, service in compose["services"].items():
        assert "image" not in service, name
        assert service["build"]["target"] in made, name
        assert (DEPLOY / service["build"]["context"] / service["build"]["dockerfile"]).exists()


def test_the_packages_are_debians() -> None:
    pattern = r"apt-get install --yes --no-install-recommends ([a-z0-9.+ -]+?) *(?:&&|$)"
    named = re.findall(pattern, _joined("RUN"), re.MULTILINE)
    packages = sorted({package for line in named for package in line.split()})
    assert {"postgresql-15", "python3", "libgl1"} <= set(packages)
    if shutil.which("apt-cache") is None:
        pytest.skip("this is no Debian: there is no apt-cache to ask")
    known = subprocess.run(["apt-cache", "pkgnames"], capture_output=True, text=True).stdout.split()
    if "postgresql-common" not in known:
        pytest.skip(
            "apt-cache knows no packages: apt-get update was never run here, or this is another Debian"
        )
    assert [package for package in packages if package not in known] == []


def _joined(kind: str) -> str:
    return "\n".join(instructions(kind))


def test_the_files_and_extras_are_the_projects() -> None:
    for line in instructions("COPY"):
        if "--from" in line:
            assert line.split()[1].removeprefix("--from=") in stages()
            continue
        *sources, _ = line.split()[1:]
        assert all((ROOT / source).exists() for source in sources)
        ignored = (ROOT / ".dockerignore").read_text().splitlines()
        assert all(f"!{source}" in ignored for source in sources), line
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (extras,) = re.findall(r'"/src\[([a-z,]+)\]"', _joined("RUN"))
    assert set(extras.split(",")) == {"service", "postgres"}
    assert set(extras.split(",")) <= set(project["optional-dependencies"])
    assert "facekd" in project["scripts"]


def test_the_command_is_one_that_there_is(compose: dict[str, Any], tmp_path: Path) -> None:
    program, name, *options = command_of("service")
    assert (program, name) == ("facekd", serve.name)
    place = options.index("--tokens") + 1
    folder, _, secret = options[place].rpartition("/")
    assert folder == "/run/secrets"
    assert secret in compose["services"]["service"]["secrets"]
    assert secret in compose["secrets"]
    (tmp_path / "tokens").touch()
    options[place] = str(tmp_path / "tokens")
    settings = {
        "resilient_parsing": True,
        "help_option_names": ["-h", "--help"],
    }  # click keeps the help option
    given = serve.make_context(name, options, **settings).params
    assert (given["host"], given["port"]) == ("0.0.0.0", 8000)
    assert instructions("EXPOSE") == [f"EXPOSE {given['port']}"]
    # to this machine alone: there is no TLS
    assert compose["services"]["service"]["ports"] == [f"127.0.0.1:{given['port']}:{given['port']}"]


def test_the_variables_are_read_by_the_project(compose: dict[str, Any]) -> None:
    named = set(compose["services"]["service"]["environment"])
    named |= {word.partition("=")[0] for line in instructions("ENV") for word in line.split()[1:]}
    assert "FACEKD_GALLERY" in named
    code = "\n".join(path.read_text() for path in (ROOT / "facekd").rglob("*.py"))
    for name in named - {"PATH"}:
        assert f'"{name}"' in code, name


def test_the_service_reaches_its_database(compose: dict[str, Any]) -> None:
    """By the socket, role and database that the other makes."""
    database, service = compose["services"]["database"], compose["services"]["service"]
    url = urlsplit(service["environment"]["FACEKD_GALLERY"])
    (socket,) = parse_qs(url.query)["host"]
    script = (DEPLOY / "database.sh").read_text()
    assert f"CREATE ROLE {url.username} LOGIN" in script
    assert f"CREATE DATABASE {url.path[1:]} OWNER {url.username}" in script
    assert f"sockets=${{SOCKETS:-{socket}}}" in script
    assert url.password is None
    for one in (database, service):
        assert f"socket:{socket}" in one["volumes"]
        assert {volume.partition(":")[0] for volume in one["volumes"]} <= set(compose["volumes"])
        assert "no-new-privileges:true" in one["security_opt"]
    assert "gallery:/var/lib/postgresql" in database["volumes"]
    assert "data=${PGDATA:-/var/lib/postgresql/gallery}" in script
    # peer authentication: the service runs as the user after whom the role is called, by one number in both
    assert f"USER {url.username}" in stages()["service"]
    (user,) = [line for line in stages()["base"] if "useradd" in line]
    number = user.split("--uid ")[1].split()[0]
    assert user.endswith(str(url.username))
    assert all("FROM base AS " + stage in stages()[stage] for stage in ("service", "database"))
    assert f"uid={number},gid={number}" in "".join(service["tmpfs"])
    assert service["depends_on"]["database"]["condition"] == "service_healthy"


def test_what_was_accepted_is_waited_for(compose: dict[str, Any], tmp_path: Path) -> None:
    grace = int(compose["services"]["service"]["stop_grace_period"].removesuffix("s"))
    assert grace > ServiceSettings(tmp_path / "g.db").grace_seconds


def test_the_health_is_asked_of_what_anybody_may_ask(compose: dict[str, Any]) -> None:
    pytest.importorskip("fastapi", reason="the extra 'service' is not installed")
    from facekd.service.gate import OPEN

    asked = compose["services"]["service"]["healthcheck"]["test"][-1]
    assert re.search(r"http://127\.0\.0\.1:8000(/\w+)", asked)[1] in OPEN
    compile(asked, "healthcheck", "exec")


@pytest.fixture
def folder() -> Iterator[Path]:
    """One with a short path, of the account that the server runs under."""
    found = Path(tempfile.mkdtemp(prefix="facekd-"))
    if os.getuid() == 0:
        account = pwd.getpwnam("postgres")
        os.chown(found, account.pw_uid, account.pw_gid)
    yield found
    shutil.rmtree(found)


def _has_server() -> bool:
    try:
        return (PROGRAMS / "initdb").exists() and bool(pwd.getpwnam("postgres"))
    except KeyError:
        return False


@pytest.mark.skipif(not _has_server(), reason="Debian's postgresql-15 is not installed")
def test_the_database_is_made_once_and_reached_by_its_socket_alone(folder: Path) -> None:
    script = Path(shutil.copy(DEPLOY / "database.sh", folder / "database.sh"))
    script.chmod(0o755)
    places = {"PATH": os.environ["PATH"], "PGDATA": str(folder / "data"), "SOCKETS": str(folder)}
    whose: dict[str, Any] = {"cwd": folder, "env": places}
    if os.getuid() == 0:
        whose |= {"user": "postgres", "group": "postgres", "extra_groups": []}

    def ask(question: str, *options: str) -> subprocess.CompletedProcess[str]:
        command = [PROGRAMS / "psql", "--host", folder, "--no-align", "--tuples-only", *options, "--command"]
        return subprocess.run([*command, question], capture_output=True, text=True, **whose)

    def until_ready() -> None:
        for _ in range(600):
            if ask("SELECT 1", "postgres").returncode == 0:
                return
            assert server.poll() is None, (folder / "log").read_text()
            time.sleep(0.1)
        raise AssertionError((folder / "log").read_text())

    # a start that was killed left something half made
    subprocess.run(["mkdir", folder / "data.new"], check=True, **whose)
    for start in range(2):
        with (folder / "log").open("ab") as log:
            server = subprocess.Popen(["sh", script], stdout=log, stderr=log, **whose)
        try:
            until_ready()
            owner = ask("SELECT rolname FROM pg_database JOIN pg_roles ON datdba = pg_roles.oid"
                        " WHERE datname = 'gallery'", "postgres")  # fmt: skip
            assert owner.stdout == "facekd\n"
            assert ask("SHOW listen_addresses", "postgres").stdout == "\n"
            # what was erased must not be kept in files of the log for reuse
            assert ask("SHOW wal_recycle", "postgres").stdout == "off\n"
            if start == 0:
                assert ask("CREATE TABLE kept ()", "postgres").returncode == 0
            assert ask("SELECT count(*) FROM kept", "postgres").stdout == "0\n"
            refused = ask("SELECT 1", "--username", "facekd", "gallery")
            assert "Peer authentication failed" in refused.stderr
        finally:
            server.send_signal(2)
            assert server.wait(60) == 0
    assert not (folder / "data.new").exists()

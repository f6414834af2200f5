"""The settings of a server that a gallery depends on."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, field

from facekd.gallery.place import ServerAddress
from facekd.gallery.postgres import connecting, erasing, migrating


@dataclass(frozen=True)
class ServerLook:
    """The server's ``version``, whether the connection is ``encrypted``, the number of pending ``erasures``,
    and the faults of its settings, by the setting that would be right."""

    version: str
    encrypted: bool
    erasures: int
    doubts: dict[str, str] = field(default_factory=dict)


_LOST = "a power cut may damage the database or lose acknowledged changes"
_LOGGED = "the server's log may contain names and templates"
_STAYS = "removed data stays in the files of the write-ahead log until they are overwritten"


def look_at_server(address: ServerAddress) -> ServerLook:
    """Look at the server's settings. Raises `InputOutput` if the server cannot be reached."""
    with connecting.explained(address), closing(connecting.connect(address)) as db:
        names = (
            "fsync", "full_page_writes", "log_statement", "log_min_duration_statement",
            "log_parameter_max_length", "wal_recycle", "server_version",
        )  # fmt: skip
        asked = ", ".join(f"current_setting('{name}')" for name in names)
        found = dict(zip(names, db.execute(f"SELECT {asked}".encode()).fetchone() or (), strict=True))
        owed = erasing.count(db) if migrating.schema_of(db) else 0
        logs = found["log_statement"] in ("mod", "all") or found["log_min_duration_statement"] != "-1"
        doubts = {
            "fsync = on": _LOST if found["fsync"] == "off" else "",
            "full_page_writes = on": _LOST if found["full_page_writes"] == "off" else "",
            "log_parameter_max_length = 0": _LOGGED
            if logs and found["log_parameter_max_length"] != "0"
            else "",
            "wal_recycle = off": _STAYS if found["wal_recycle"] == "on" else "",
        }
        return ServerLook(
            version=found["server_version"].split()[0],
            encrypted=bool(db.pgconn.ssl_in_use),
            erasures=owed,
            doubts={
                setting: f"{setting.partition(' ')[0]}: {told}" for setting, told in doubts.items() if told
            },
        )

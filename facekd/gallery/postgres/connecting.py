"""Connect to a PostgreSQL server: encrypted, within a time limit, with failures as clear errors."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from facekd.errors import FacekdError, InputOutput, Unreadable, UsageError
from facekd.gallery.place import ServerAddress, is_loopback

if TYPE_CHECKING:
    import psycopg

# errors are raised; what psycopg also logs about a lost connection is for log collectors, not the terminal
logging.getLogger("psycopg").addHandler(logging.NullHandler())

#: the schema of the database that contains a gallery's tables
SCHEMA = "facekd"
#: how long one attempt to connect may take, and for how long it is repeated while the server is unavailable
CONNECT_SECONDS, RETRY_SECONDS = 5, 5.0
#: how long a query may take, and how long to wait for another program that is writing
STATEMENT_SECONDS, LOCK_SECONDS = 60.0, 5.0
#: how long a change may be idle before the server cancels it, because others are waiting for it
IDLE_SECONDS = 60.0

_SECRETS = {"password", "sslpassword"}
_ENCRYPTED = ("require", "verify-ca", "verify-full")
#: settings that detect a lost server or network within half a minute
_LIVELY = {
    "keepalives_idle": "10", "keepalives_interval": "5", "keepalives_count": "3", "tcp_user_timeout": "25000",
}  # fmt: skip
#: libpq describes failed connections in words, without an SQLSTATE
_NOT_NOW = (
    "refused", "not yet accepting", "starting up", "shutting down", "recovery mode", "too many",
    "remaining connection slots", "No such file or directory", "closed the connection unexpectedly",
)  # fmt: skip
_OF_TEXT = {
    "does not exist": "3D000", "password authentication failed": "28P01", "no password supplied": "28P01",
    "pg_hba.conf": "28000", "not permitted to log in": "28000", "permission denied for database": "28000",
}  # fmt: skip

_OF_STATE = {
    "55P03": ("another program is writing to it", "Try again when it has finished."),
    "40001": ("another program is writing to it", "Try again when it has finished."),
    "40P01": ("another program is writing to it", "Try again when it has finished."),
    "57014": ("the server took too long", "Try again; 'facekd gallery stats' shows how large it is."),
    "25P03": ("a change was idle for too long and was cancelled", "Try again."),
    "53100": ("the disk of the server is full", "Free some space and try again."),
    "42501": ("this user may not do that", "'facekd gallery roles' prints the roles that there are."),
    "25006": ("this server may only be read", "Name the primary server to change a gallery."),
    "3D000": ("there is no such database or user", "An administrator creates them: createdb, createuser."),
    "28P01": (
        "the server does not accept this user and password",
        "Keep the password in ~/.pgpass (PGPASSFILE), PGPASSWORD or a service file.",
    ),
    "28000": (
        "the server does not accept connections from this user",
        "Access is configured in the server's pg_hba.conf.",
    ),
}


def client() -> Any:
    """The module psycopg. Raises `UsageError` if it is not installed."""
    try:
        import psycopg
    except ImportError as error:
        raise UsageError(
            f"a gallery in PostgreSQL needs psycopg ({error})", "Install it: pip install 'facekd[postgres]'"
        ) from error
    return psycopg


def parameters(address: ServerAddress, environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The parameters of the connection: those of the URL, and those that must be set if neither the URL nor
    the environment does.

    Connections to other machines are encrypted: with a verified certificate, unless ``sslmode`` is
    ``require`` or ``verify-ca``. Raises `UsageError` for an invalid URL, or one that requests less.
    """
    psycopg = client()
    try:
        given: dict[str, str] = psycopg.conninfo.conninfo_to_dict(address.url)
    except psycopg.ProgrammingError as error:
        raise UsageError(f"{address}: {_shortly(error)}") from None
    if _SECRETS & given.keys():
        raise UsageError("the URL of the database contains a password", "Keep it in ~/.pgpass or PGPASSWORD.")
    chosen = _LIVELY | {"application_name": "facekd", "client_encoding": "UTF8"} | given
    if "connect_timeout" not in given and "PGCONNECT_TIMEOUT" not in environ:
        chosen["connect_timeout"] = str(CONNECT_SECONDS)
    if not _stays_here(given, environ):
        # the contents of a service file are unknown here: requesting the strictest mode weakens none of them
        has_service = "service" in given or "PGSERVICE" in environ
        mode = given.get("sslmode") or (None if has_service else environ.get("PGSSLMODE"))
        if mode is not None and mode not in _ENCRYPTED:
            raise UsageError(
                f"{address}: on another machine, and sslmode={mode} allows connections without TLS",
                "Use sslmode=verify-full, with sslrootcert=FILE for a certificate authority of your own.",
            )
        chosen["sslmode"] = mode or "verify-full"
    return chosen


def _stays_here(given: Mapping[str, str], environ: Mapping[str, str]) -> bool:
    """Whether the connection cannot leave this machine: it uses a Unix socket, or the loopback interface."""
    has_service = "service" in given or "PGSERVICE" in environ
    beside = {} if has_service else environ
    addresses = given.get("hostaddr") or beside.get("PGHOSTADDR")
    hosts = addresses or given.get("host") or beside.get("PGHOST")
    if not hosts:  # a service file may name a host; otherwise it is the default socket
        return not has_service
    return all(_is_here(host) for host in hosts.split(","))


def _is_here(host: str) -> bool:
    return not host or host.startswith(("/", "@")) or is_loopback(host)


def connect(address: ServerAddress) -> psycopg.Connection:
    """A connection in which each statement is a transaction, unless one is begun. While a server is starting,
    tries again, for at most `RETRY_SECONDS`. Raises `InputOutput`, and what `parameters` raises."""
    psycopg = client()
    chosen = parameters(address)
    until = time.monotonic() + RETRY_SECONDS
    while True:
        try:
            with explained(address):
                db = psycopg.connect(**chosen, autocommit=True)
                try:
                    _prepare(db, address)
                except BaseException:
                    db.close()
                    raise
                return db
        except InputOutput as error:
            if not _may_come(error.__cause__) or time.monotonic() > until:
                raise
        time.sleep(0.1)


def _may_come(error: BaseException | None) -> bool:
    """Whether a server that is starting may give this error."""
    return any(words in str(error) for words in _NOT_NOW)


def _prepare(db: psycopg.Connection, address: ServerAddress) -> None:
    """Set the parameters of a connection, and check that it is as secure as it must be."""
    here = not db.info.hostaddr or _is_here(db.info.hostaddr)
    if not here and not db.pgconn.ssl_in_use:
        raise InputOutput(f"{address}: the server does not use TLS", "Enable it there (ssl = on).")
    if db.info.parameter_status("server_encoding") != "UTF8":
        raise Unreadable(f"{address}: the database's encoding is not UTF8", "Create it with --encoding=UTF8.")
    settings = {
        "search_path": f"{SCHEMA}, pg_temp",
        "statement_timeout": _milliseconds(STATEMENT_SECONDS),
        "timezone": "UTC",
    }
    for name, value in settings.items():
        db.execute("SELECT set_config(%s, %s, false)", (name, value))
    # acknowledged changes must be durable, whatever the server's default
    db.execute(
        "SELECT set_config('synchronous_commit', 'on', false)"
        " WHERE current_setting('synchronous_commit') = 'off'"
    )


def _milliseconds(seconds: float) -> str:
    return str(round(1000 * seconds))


@contextmanager
def setting(db: psycopg.Connection, name: str, seconds: float) -> Iterator[None]:
    """Inside, the timeout ``name`` is ``seconds``; 0 disables it."""
    before = db.execute("SELECT current_setting(%s)", (name,)).fetchone()
    db.execute("SELECT set_config(%s, %s, false)", (name, _milliseconds(seconds)))
    try:
        yield
    finally:
        if not db.closed and before is not None:
            db.execute("SELECT set_config(%s, %s, false)", (name, before[0]))


@contextmanager
def explained(address: ServerAddress) -> Iterator[None]:
    """Turn the server's failures into `InputOutput`, or `Unreadable` if there is no gallery."""
    psycopg = client()
    try:
        yield
    except (psycopg.IntegrityError, psycopg.DataError):
        raise
    except psycopg.Error as error:
        raise in_words(address, error) from error


def in_words(address: ServerAddress, error: psycopg.Error) -> FacekdError:
    """The error to raise for ``error``, without its details, which may contain values."""
    state = error.sqlstate or next((of for text, of in _OF_TEXT.items() if text in str(error)), "")
    if state in _OF_STATE:
        cause, fix = _OF_STATE[state]
        return InputOutput(f"{address}: {cause}", fix)
    if state in ("42P01", "3F000"):
        return Unreadable(f"{address}: not a facekd gallery ({_shortly(error)})")
    if state in ("XX001", "XX002"):
        return damaged(address, _shortly(error))
    if not state or state[:2] in ("08", "57", "53"):
        return InputOutput(
            f"{address}: the server cannot be reached, or went away ({_shortly(error)})",
            "Try again; acknowledged changes are kept.",
        )
    return InputOutput(f"{address}: {_shortly(error)}")


def damaged(address: ServerAddress, what: str) -> Unreadable:
    return Unreadable(f"{address}: the gallery is damaged ({what})", "Restore it from a backup.")


def _shortly(error: BaseException) -> str:
    """The message on one line, without the details, which may contain values."""
    primary = getattr(getattr(error, "diag", None), "message_primary", None)
    return " ".join(str(primary or error).split())[:400]

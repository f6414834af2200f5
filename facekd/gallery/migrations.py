"""The gallery's schema as a list of numbered migrations: a new gallery runs all of them, an old one
those that are missing.

To add a column, a table or an audit action, append one migration to `MIGRATIONS`. Migrations that were
released must not be changed, because galleries made with them exist.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

from facekd.gallery.template import checksum, row_checksum, unpack

#: changes the tables of a gallery, inside the caller's transaction
Migration = Callable[[sqlite3.Connection], None]


def statements(*sql: str) -> Migration:
    """The migration that executes these statements."""

    def run(db: sqlite3.Connection) -> None:
        for statement in sql:
            db.execute(statement)

    return run


def _add_checksums(db: sqlite3.Connection) -> None:
    """Add a checksum to every readable template; a damaged one gets none and remains damaged."""

    def seal(space: str, dim: int | None, photo: str, blob: bytes) -> str:
        whole = dim is not None and unpack(blob, dim) is not None
        return checksum(space, dim, photo, blob) if dim is not None and whole else ""

    db.create_function("template_checksum", 4, seal, deterministic=True)
    db.execute("ALTER TABLE templates ADD COLUMN checksum TEXT NOT NULL DEFAULT ''")
    db.execute(
        "UPDATE templates SET checksum ="
        " template_checksum(space, (SELECT dim FROM contract), photo, embedding)"
    )


# Ids of people are never reused, so that the audit remains true after a removal; it holds no
# names, because a name is personal data that a removal must erase.
_first_tables = statements(
    """CREATE TABLE contract (
        space TEXT PRIMARY KEY, dim INTEGER NOT NULL CHECK (dim > 0), model TEXT NOT NULL,
        detector TEXT NOT NULL, aligner TEXT NOT NULL, created TEXT NOT NULL) STRICT""",
    """CREATE TRIGGER one_contract BEFORE INSERT ON contract WHEN (SELECT count(*) FROM contract) > 0
        BEGIN SELECT raise(ABORT, 'a gallery has one contract'); END""",
    """CREATE TABLE people (
        id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE) STRICT""",
    """CREATE TABLE templates (
        id INTEGER PRIMARY KEY,
        person INTEGER NOT NULL REFERENCES people (id) ON DELETE CASCADE,
        space TEXT NOT NULL REFERENCES contract (space),
        photo TEXT NOT NULL CHECK (length(photo) = 64),
        embedding BLOB NOT NULL, quality REAL NOT NULL, enrolled TEXT NOT NULL,
        UNIQUE (person, photo)) STRICT""",
    "CREATE INDEX templates_by_photo ON templates (photo)",
    """CREATE TABLE audit (
        id INTEGER PRIMARY KEY, date TEXT NOT NULL, action TEXT NOT NULL CHECK (action IN ('add', 'remove')),
        person INTEGER NOT NULL, templates INTEGER NOT NULL) STRICT""",
)

# "force": templates that were enrolled although they looked like another person's
_audit_actions = statements(
    "CREATE TABLE audit_actions (action TEXT PRIMARY KEY) STRICT",
    "INSERT INTO audit_actions (action) VALUES ('add'), ('remove'), ('force')",
    "ALTER TABLE audit RENAME TO audit_before",
    """CREATE TABLE audit (
        id INTEGER PRIMARY KEY, date TEXT NOT NULL, action TEXT NOT NULL REFERENCES audit_actions (action),
        person INTEGER NOT NULL, templates INTEGER NOT NULL) STRICT""",
    "INSERT INTO audit (id, date, action, person, templates)"
    " SELECT id, date, action, person, templates FROM audit_before",
    "DROP TABLE audit_before",
)

# A person's ``uid`` is random and is written into archives: by it, not by name, a gallery knows whom it
# removed. An added column cannot have a random default, so a trigger sets it.
# ``removed_photos``: for ``seal`` see `tombstones`; ``person`` is the uid of the photo's person.
# ``erasures``: removals after which the file has not been rewritten.
_lasting_removals = statements(
    "ALTER TABLE people ADD COLUMN uid TEXT NOT NULL DEFAULT ''",
    "UPDATE people SET uid = lower(hex(randomblob(16)))",
    "CREATE UNIQUE INDEX people_by_uid ON people (uid)",
    """CREATE TRIGGER give_uid AFTER INSERT ON people WHEN new.uid = ''
        BEGIN UPDATE people SET uid = lower(hex(randomblob(16))) WHERE id = new.id; END""",
    "CREATE TABLE removed_people (uid TEXT PRIMARY KEY, date TEXT NOT NULL, merged_into TEXT)"
    " STRICT, WITHOUT ROWID",
    "CREATE TABLE removed_photos (seal TEXT PRIMARY KEY, person TEXT NOT NULL, date TEXT NOT NULL)"
    " STRICT, WITHOUT ROWID",
    "CREATE TABLE erasures (id INTEGER PRIMARY KEY AUTOINCREMENT) STRICT",
    # "merged": the person who was merged; "merge": the one who received; "prune": entries of this table
    "INSERT INTO audit_actions (action) VALUES"
    " ('rename'), ('remove_photo'), ('merge'), ('merged'), ('import'), ('restore'), ('prune')",
)


def _track_state(db: sqlite3.Connection) -> None:
    """A random word that changes with every change of who is enrolled, whatever program makes it, so that
    data derived from the records before is known to be outdated. A counter would not do: a gallery restored
    from a backup would reach the same numbers again."""
    db.execute("CREATE TABLE state (word TEXT NOT NULL) STRICT")
    db.execute("INSERT INTO state (word) VALUES (lower(hex(randomblob(16))))")
    for table in ("people", "templates"):
        for change in ("insert", "update", "delete"):
            db.execute(
                f"CREATE TRIGGER state_after_{change}_of_{table} AFTER {change} ON {table}"
                " BEGIN UPDATE state SET word = lower(hex(randomblob(16))); END"
            )


def _seal_owners(db: sqlite3.Connection) -> None:
    """Replace checksums by ones that also cover the person, for all intact templates; a damaged one gets none
    and remains damaged."""

    def seal(
        uid: str, name: str, space: str, dim: int, photo: str, blob: bytes, quality: float, enrolled: str,
        before: str,
    ) -> str:  # fmt: skip
        if unpack(blob, dim) is None or before != checksum(space, dim, photo, blob):
            return ""
        return row_checksum(space, dim, uid, name, photo, blob, quality, enrolled)

    db.create_function("owner_checksum", 9, seal, deterministic=True)
    db.execute(
        "UPDATE templates SET checksum = coalesce("
        "(SELECT owner_checksum(uid, name, templates.space, dim, photo, embedding, quality, enrolled,"
        " checksum) FROM people, contract WHERE people.id = person), '')"
    )


# The name of the token of the request; empty if none was needed.
_name_askers = statements("ALTER TABLE audit ADD COLUMN asked_by TEXT NOT NULL DEFAULT ''")

# How a gallery is encrypted (`encryption`): one row if it is, none if it is not. While there is one, no
# unencrypted template can be written to the file, whatever code tries.
_IN_THE_CLEAR = (
    "WHEN length(new.embedding) = 4 * (SELECT dim FROM contract) AND (SELECT count(*) FROM encryption) > 0"
    " BEGIN SELECT raise(ABORT, 'a template in the clear, in a gallery that is encrypted'); END"
)
_encryption = statements(
    "CREATE TABLE encryption (scheme TEXT NOT NULL, salt TEXT NOT NULL, key_id TEXT NOT NULL,"
    " check_value TEXT NOT NULL) STRICT",
    """CREATE TRIGGER one_encryption BEFORE INSERT ON encryption WHEN (SELECT count(*) FROM encryption) > 0
        BEGIN SELECT raise(ABORT, 'a gallery is encrypted in one way'); END""",
    f"CREATE TRIGGER no_insert_in_the_clear BEFORE INSERT ON templates {_IN_THE_CLEAR}",
    f"CREATE TRIGGER no_update_in_the_clear BEFORE UPDATE OF embedding ON templates {_IN_THE_CLEAR}",
    "INSERT INTO audit_actions (action) VALUES ('encrypt'), ('rotate_key'), ('decrypt')",
)

# Claims and searches: the person's number, the result and the model. A separate table, because there are many
# more of them than changes, and they are kept for a shorter time.
_note_reads = statements(
    "INSERT INTO audit_actions (action) VALUES ('claim'), ('search')",
    """CREATE TABLE audit_reads (
        id INTEGER PRIMARY KEY, date TEXT NOT NULL, action TEXT NOT NULL REFERENCES audit_actions (action),
        person INTEGER NOT NULL, result TEXT NOT NULL, reason TEXT NOT NULL, model TEXT NOT NULL,
        space TEXT NOT NULL, fmr REAL, fpir REAL, asked_by TEXT NOT NULL) STRICT""",
)

# Names of people may be encrypted too (`stored_names`): ``lookup`` then serves to find a name, and no
# unencrypted name can be written to the file, whatever code tries. From this schema on, databases may be
# encrypted.
_A_NAME_IN_THE_CLEAR = (
    "WHEN (new.lookup IS NULL OR length(new.name) < 124 OR new.name GLOB '*[^0-9A-Za-z+/=]*')"
    " AND (SELECT count(*) FROM encryption WHERE names > 0) > 0"
    " BEGIN SELECT raise(ABORT, 'a name in the clear, in a gallery whose names are encrypted'); END"
)
_encrypted_names = statements(
    "ALTER TABLE encryption ADD COLUMN names INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE people ADD COLUMN lookup TEXT",
    "CREATE UNIQUE INDEX people_by_lookup ON people (lookup) WHERE lookup IS NOT NULL",
    f"CREATE TRIGGER no_new_name_in_the_clear BEFORE INSERT ON people {_A_NAME_IN_THE_CLEAR}",
    f"CREATE TRIGGER no_name_in_the_clear BEFORE UPDATE OF name, lookup ON people {_A_NAME_IN_THE_CLEAR}",
)

#: The first leads to schema 1, the next to schema 2, and so on. Another audit action is one more:
#: ``statements("INSERT INTO audit_actions (action) VALUES ('export')")``.
MIGRATIONS: tuple[Migration, ...] = (
    _first_tables,
    _add_checksums,
    _audit_actions,
    _lasting_removals,
    _track_state,
    _seal_owners,
    _name_askers,
    # "drop": templates without a photo when the gallery was moved to another model ("re_embed")
    statements("INSERT INTO audit_actions (action) VALUES ('re_embed'), ('drop')"),
    _encryption,
    _note_reads,
    _encrypted_names,
)

#: the schema from which people have a uid and removals leave a tombstone
UIDS_SINCE = 4
#: the schema from which a gallery has a state
STATE_SINCE = 5
#: the schema from which the audit names who asked
ASKERS_SINCE = 7
#: the schema from which a gallery in a file may be encrypted
ENCRYPTION_SINCE = MIGRATIONS.index(_encryption) + 1
#: the schema from which names, and a gallery in a database, may be encrypted
SERVER_ENCRYPTION_SINCE = NAMES_SINCE = MIGRATIONS.index(_encrypted_names) + 1
#: the schema from which claims and searches can be audited
READS_SINCE = MIGRATIONS.index(_note_reads) + 1


def latest() -> int:
    """The schema that this facekd writes."""
    return len(MIGRATIONS)


def schema_of(db: sqlite3.Connection) -> int:
    return int(db.execute("PRAGMA user_version").fetchone()[0])


def migrate_one(db: sqlite3.Connection) -> bool:
    """Migrate the gallery to the next schema, inside the caller's transaction; `False` if it has the latest
    one."""
    schema = schema_of(db)
    if schema >= latest():
        return False
    MIGRATIONS[schema](db)
    db.execute(f"PRAGMA user_version = {schema + 1}")
    return True

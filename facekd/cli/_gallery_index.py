"""Choose how a gallery in a database is searched."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from facekd.cli.options import gallery_option, json_option
from facekd.cli.output import answer, answer_json, say
from facekd.errors import UsageError

if TYPE_CHECKING:
    from facekd.gallery import Place
    from facekd.workflows import IndexLook

#: `gallery.ENGINES` and the exact search, written out because help must not import numpy; a test compares
#: them
ENGINE_NAMES = ("exact", "pgvector", "milvus")
_OF_SERVER = "milvus"
#: the share of people that an index may miss without a warning
_MOST_MISSED = 0.005


@click.command("index")
@click.option(
    "--engine", type=click.Choice(ENGINE_NAMES), default=None,
    help="Search the gallery with this engine from now on: build its index, or drop the index (exact).",
)  # fmt: skip
@click.option(
    "--at", metavar="URL", default=None,
    help="The Milvus server, https://HOST:PORT or https://HOST:PORT/DATABASE; only with --engine milvus.",
)  # fmt: skip
@gallery_option
@json_option
def index(engine: str | None, at: str | None, gallery: Place, as_json: bool) -> None:
    """Build, drop or show the search index of a gallery in PostgreSQL.

    Without --engine, show how the gallery is searched. "exact", the default, compares with everybody.
    "pgvector" builds an index in the gallery's database, so that no process has to keep everybody in memory:
    it names about a hundred candidates, who are then compared exactly. "milvus" builds it on a Milvus server,
    with the token in the file named by FACEKD_MILVUS_TOKEN_FILE, or in FACEKD_MILVUS_TOKEN. Every change of
    the gallery updates the index; "identify", "serve" and Python use it without further options. A person
    whom it does not name is not found. Its recall, the share of the exact search's answers that it finds, is
    measured when it is built, with noisy templates of up to 200 people.

    Only the owner of the gallery can build an index; pgvector needs the extension "vector" in the database,
    which a superuser installs: CREATE EXTENSION vector SCHEMA public. The gallery can be used in the
    meantime, but not changed while a Milvus server with its index does not answer. A gallery in a file, and
    every encrypted gallery, is searched exactly.

    \b
    Example: facekd gallery index --engine pgvector --gallery postgresql://owner@db.example.org/staff
             facekd gallery index --engine milvus --at https://milvus.example.org
             facekd gallery index --gallery postgresql://reader@db.example.org/staff
    """
    from facekd.gallery import EXACT, GalleryRecords
    from facekd.workflows import build_index, drop_index, look_at_index

    if (engine == _OF_SERVER) != (at is not None):
        raise UsageError(
            f"--engine {_OF_SERVER} and --at require each other",
            "Name the Milvus server: facekd gallery index --engine milvus --at https://HOST:PORT",
        )
    with GalleryRecords(gallery, read_only=engine is None) as records:
        if engine is None:
            found = look_at_index(records)
        elif engine == EXACT:
            found = drop_index(records)
        else:
            found = build_index(records, engine, at or "")
    if as_json:
        answer_json({"gallery": str(gallery)} | found.to_dict())
    else:
        answer(f"{gallery}: {_told(found)}")
    if not found.current:
        say("The index does not match the gallery: rebuild it with --engine, as the owner.")
    warning = missed(found)
    if warning:
        say(warning)


def missed(found: IndexLook) -> str | None:
    """A warning if the index misses more people than `_MOST_MISSED`, by its measured recall."""
    if found.choice is None or found.choice.recall_1 >= 1 - _MOST_MISSED:
        return None
    share = 100 * (1 - found.choice.recall_1)
    return (
        f"note: this index misses {share:.1f} % of the people whom the exact search finds: they are answered "
        "as nobody or as somebody else. To search exactly: facekd gallery index --engine exact"
    )


def _told(found: IndexLook) -> str:
    choice = found.choice
    if choice is None:
        return f"searched exactly, {found.people:,} people"
    measured = (
        f"recall {choice.recall_1:.4f} of the first and {choice.recall_5:.4f} of the first five, measured "
        f"with {choice.probes:,} probes among {choice.people:,} people on {choice.built[:10]}"
    )
    return f"searched by {choice.engine}, {found.people:,} people; {measured}"

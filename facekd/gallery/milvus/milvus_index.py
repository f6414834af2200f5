"""An index in Milvus: one vector for each person, searched by inner product in an HNSW graph.

The stamp is stored in the properties of the collection, so that both are dropped together; a build drops them
first and writes the stamp last. A request sees all changes that were acknowledged before it, whichever node
of a cluster answers. Milvus' strong consistency guarantees that too, but each request then waits until every
node has received the present moment, which takes some hundred milliseconds. The time of the last change is
therefore stored with the stamp, and a request waits for that time only.
"""

from __future__ import annotations

import hashlib
import re
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import numpy as np

from facekd.errors import InputOutput
from facekd.gallery.candidates import Floats, IndexStamp
from facekd.gallery.milvus.connecting import (
    BUILD_IT,
    REQUEST_SECONDS,
    MilvusAddress,
    TokenSource,
    connect,
    explained,
    library,
    milvus_address,
    no_index,
    token_of_environment,
)

#: people written, deleted or looked up in one request: 4 MB with 512 values each
_BLOCK = 2048
#: embeddings searched in one request, and the most people that Milvus returns for each
_PROBES, _MOST = 64, 16_384
#: how long to wait for a block to be written, for all blocks to be sealed, and for them to be indexed; the
#: pause between two looks
_WRITING_SECONDS, _SEALING_SECONDS, _INDEXING_SECONDS, _PAUSE_SECONDS = 60, 600, 3600, 0.5
#: the graph's M, efConstruction and ef: with each of them recall rises, and time in proportion
#: (tools/measure_milvus.py)
_EDGES, _BUILDING, _SEARCHING = 32, 200, 1024
_STRONG, _SINCE_MOMENT = "Strong", "Customized"
_PERSON, _TEMPLATE = "person", "template"
_SPACE, _STATE, _MOMENT = "facekd.space", "facekd.state", "facekd.moment"
_LONGEST_ID = 64
_ID = re.compile(f"[A-Za-z0-9_.:-]{{1,{_LONGEST_ID}}}")


def milvus_index(uri: str, contract_space: str, dim: int, gallery_id: str) -> MilvusIndex:
    """The index of a gallery, given by its space and ``gallery_id``, with the token from the environment; not
    connected yet. Raises `UsageError` as `milvus_address` does, and if pymilvus is not installed."""
    address = milvus_address(uri)
    library()
    return MilvusIndex(address, collection_name(contract_space, gallery_id), dim)


def collection_name(space: str, gallery_id: str) -> str:
    """The name of the collection of a gallery's index, from its space and a hash of its id."""
    whose = hashlib.sha256(f"facekd index\n{space}\n{gallery_id}".encode()).hexdigest()
    return f"facekd_{space[:12]}_{whose[:24]}"


class MilvusIndex:
    """A `CandidateIndex` in a ``collection`` of the server at ``address``, with unit rows of ``dim`` values.

    It connects with the first request, and several threads may use it. Every method raises `InputOutput` if
    the server refuses or does not answer in time.
    """

    def __init__(
        self, address: MilvusAddress, collection: str, dim: int, token: TokenSource = token_of_environment
    ) -> None:
        self.collection = collection
        self._address, self._dim, self._token = address, dim, token
        self._connecting = threading.Lock()
        self._client: Any = None
        self._secret = ""
        self._is_loaded = False
        #: when it was connected (`time.monotonic`); `None` if it is not connected, and after a failure
        self.connected: float | None = None

    def __repr__(self) -> str:
        return f"MilvusIndex({self._address}, {self.collection}, {self._dim})"

    def close(self) -> None:
        """Disconnect. The next request connects again."""
        with self._connecting:
            client, self._client, self._secret = self._client, None, ""
            self._is_loaded, self.connected = False, None
        if client is not None:
            client.close()

    def drop(self) -> None:
        """Delete the index from the server."""
        with self._asking() as client:
            client.drop_collection(self.collection, timeout=_WRITING_SECONDS)
            self._is_loaded = False

    def stamp(self) -> IndexStamp | None:
        """See `CandidateIndex`."""
        kept = self._kept()
        if kept is None or not {_SPACE, _STATE} <= kept.keys():
            return None
        return IndexStamp(kept[_SPACE], kept[_STATE], self._count(kept))

    def build(self, people: Iterable[tuple[Sequence[str], Floats]], stamp: IndexStamp) -> None:
        """See `CandidateIndex`. Until the build is complete there is no index, not even the previous one."""
        with self._asking() as client:
            client.drop_collection(self.collection, timeout=_WRITING_SECONDS)
            self._create(client)
        for ids, rows in people:
            self._send("insert", ids, rows)
        with self._asking() as client:
            client.flush(self.collection, timeout=_SEALING_SECONDS)
        self._wait_for_graph()
        with self._asking() as client:
            client.load_collection(self.collection, timeout=_INDEXING_SECONDS)
        self._write(stamp)

    def put(self, ids: Sequence[str], rows: Floats, stamp: IndexStamp) -> None:
        """See `CandidateIndex`. An incomplete index stays incomplete."""
        kept = self._kept()
        if kept is None:
            raise no_index(self._address)
        self._send("upsert", ids, rows)
        if _STATE in kept:
            self._write(stamp)

    def remove(self, ids: Sequence[str], stamp: IndexStamp) -> None:
        """See `CandidateIndex`. An incomplete index stays incomplete; without a collection there is nothing
        to do."""
        kept = self._kept()
        if kept is None:
            return
        self._load()
        for start in range(0, len(ids), _BLOCK):
            self._delete(_checked(ids[start : start + _BLOCK]))
        if _STATE in kept:
            self._write(stamp)

    def held(self, ids: Sequence[str]) -> set[str]:
        """Those of these people who are in the index."""
        found: set[str] = set()
        self._load()
        for start in range(0, len(ids), _BLOCK):
            with self._asking() as client:
                found |= self._there(client, _checked(ids[start : start + _BLOCK]))
        return found

    def candidates(self, embeddings: Floats, count: int) -> list[list[str]]:
        """See `CandidateIndex`; at most 16,384 people for each. Raises `InputOutput` if there is no index."""
        if count < 1:
            raise ValueError("a search must return at least one person")
        probes, limit = self._floats(embeddings), min(count, _MOST)
        if not self._is_loaded:
            self._load()
        found: list[list[str]] = []
        with self._asking() as client:
            described = client.describe_collection(self.collection, timeout=REQUEST_SECONDS)
        since = _since(described.get("properties") or {})
        for start in range(0, len(probes), _PROBES):
            with self._asking() as client:
                answers = client.search(
                    self.collection, list(probes[start : start + _PROBES]),
                    anns_field=_TEMPLATE, limit=limit,
                    search_params={"metric_type": "IP", "params": {"ef": max(_SEARCHING, limit)}},
                    timeout=REQUEST_SECONDS, **since,
                )  # fmt: skip
            found += [[str(hit.id) for hit in hits] for hits in answers]
        return found

    @contextmanager
    def _asking(self) -> Iterator[Any]:
        """The client, whose failures become clear errors."""
        with self._connecting:
            if self._client is None:
                self._secret = self._token() or ""
                self._client = connect(self._address, self._secret)
                self.connected = time.monotonic()
            client, secret = self._client, self._secret
        try:
            with explained(self._address, secret):
                yield client
        except InputOutput:
            self._is_loaded, self.connected = False, None
            raise

    def _kept(self) -> dict[str, str] | None:
        """The properties of the collection; `None` if there is none."""
        with self._asking() as client:
            if not client.has_collection(self.collection, timeout=REQUEST_SECONDS):
                return None
            described = client.describe_collection(self.collection, timeout=REQUEST_SECONDS)
        return dict(described.get("properties") or {})

    def _write(self, stamp: IndexStamp) -> None:
        """Of what was changed before, and acknowledged."""
        with self._asking() as client:
            # with the state that it belongs to, since an older facekd writes none
            moment = f"{_moment(client)} {stamp.state}"
            client.alter_collection_properties(
                self.collection, {_SPACE: stamp.space, _STATE: stamp.state, _MOMENT: moment},
                timeout=REQUEST_SECONDS,
            )  # fmt: skip

    def _count(self, kept: Mapping[str, str]) -> int:
        self._load()
        with self._asking() as client:
            counted = client.query(
                self.collection, filter="", output_fields=["count(*)"],
                timeout=REQUEST_SECONDS, **_since(kept),
            )  # fmt: skip
        return int(counted[0]["count(*)"])

    def _load(self) -> None:
        """Make sure that the server has the collection in memory: somebody may have released it."""
        with self._asking() as client:
            state = client.get_load_state(self.collection, timeout=REQUEST_SECONDS)["state"].name
            if state == "NotExist":
                raise no_index(self._address)
            if state != "Loaded":
                client.load_collection(self.collection, timeout=REQUEST_SECONDS)
        self._is_loaded = True

    def _create(self, client: Any) -> None:
        """An empty collection that is indexed as it grows. It is not loaded: what is written to one that is
        loaded is searched by a rough index for a while after its graph is finished."""
        pymilvus = library()
        schema = client.create_schema(auto_id=False, enable_dynamic_field=False)
        schema.add_field(_PERSON, pymilvus.DataType.VARCHAR, is_primary=True, max_length=_LONGEST_ID)
        schema.add_field(_TEMPLATE, pymilvus.DataType.FLOAT_VECTOR, dim=self._dim)
        graph = client.prepare_index_params()
        graph.add_index(
            _TEMPLATE, index_type="HNSW", index_name=_TEMPLATE, metric_type="IP",
            params={"M": _EDGES, "efConstruction": _BUILDING},
        )  # fmt: skip
        client.create_collection(
            self.collection, schema=schema, consistency_level=_STRONG, timeout=_WRITING_SECONDS
        )
        client.create_index(self.collection, graph, sync=False, timeout=_WRITING_SECONDS)

    def _wait_for_graph(self) -> None:
        """Wait until the server has added every row to the graph, which it does by itself: hours for many
        millions, but never an hour without a segment being finished."""
        until, left = time.monotonic() + _INDEXING_SECONDS, None
        while True:
            with self._asking() as client:
                told = client.describe_index(self.collection, _TEMPLATE, timeout=REQUEST_SECONDS) or {}
            if told.get("state") == "Finished" and not told.get("pending_index_rows"):
                return
            if told.get("state") == "Failed":
                raise InputOutput(f"{self._address}: the server could not index the collection", BUILD_IT)
            if (now := told.get("pending_index_rows")) != left:
                until, left = time.monotonic() + _INDEXING_SECONDS, now
            elif time.monotonic() > until:
                raise InputOutput(
                    f"{self._address}: nothing was indexed for an hour; {now} rows are left",
                    "Check the server.",
                )
            time.sleep(_PAUSE_SECONDS)

    def _send(self, how: Literal["insert", "upsert"], ids: Sequence[str], rows: Floats) -> None:
        """Write these people in blocks."""
        rows = self._floats(rows)
        if len(ids) != len(rows):
            raise ValueError(f"{len(ids)} people, but {len(rows)} rows")
        for start in range(0, len(ids), _BLOCK):
            some = slice(start, start + _BLOCK)
            block = [
                {_PERSON: one, _TEMPLATE: row}
                for one, row in zip(_checked(ids[some]), rows[some], strict=True)
            ]
            with self._asking() as client:
                write = client.insert if how == "insert" else client.upsert
                write(self.collection, block, timeout=_WRITING_SECONDS)

    def _delete(self, ids: list[str]) -> None:
        """Delete these people, and check that they are gone."""
        with self._asking() as client:
            client.delete(self.collection, ids=ids, timeout=REQUEST_SECONDS)
            left = self._there(client, ids)
        if left:
            raise InputOutput(f"{self._address}: {len(left)} people are still in the index", "Try again.")

    def _there(self, client: Any, ids: list[str]) -> set[str]:
        found = client.get(
            self.collection, ids=ids, output_fields=[_PERSON],
            consistency_level=_STRONG, timeout=REQUEST_SECONDS,
        )  # fmt: skip
        return {str(one[_PERSON]) for one in found}

    def _floats(self, rows: Floats) -> Floats:
        found = np.ascontiguousarray(rows, np.float32)
        if found.ndim != 2 or found.shape[1] != self._dim or not np.isfinite(found).all():
            raise ValueError(f"embeddings must be finite and [N, {self._dim}]")
        return found


def _moment(client: Any) -> int:
    """The present moment by the clock of the servers, which is that of their changes too; 0 where it is not
    told: pymilvus has the question, but no public method of its client asks it."""
    connection = getattr(client, "_get_connection", lambda: None)()
    ask = getattr(connection, "alloc_timestamp", None)
    return int(ask(timeout=REQUEST_SECONDS)) if ask else 0


def _since(kept: Mapping[str, str]) -> dict[str, str | int]:
    """How a question is asked that sees all changes until the moment in the properties of the collection, and
    all there are where none of the present state is kept."""
    moment, _, state = kept.get(_MOMENT, "").partition(" ")
    if not moment.isdecimal() or int(moment) == 0 or state != kept.get(_STATE):
        return {"consistency_level": _STRONG}
    return {"consistency_level": _SINCE_MOMENT, "guarantee_timestamp": int(moment)}


def _checked(ids: Sequence[str]) -> list[str]:
    """``ids``, after a check that pymilvus can take them: it puts them between quotes without escaping."""
    if not all(_ID.fullmatch(one) for one in ids):
        raise ValueError(
            f"a person's id consists of at most {_LONGEST_ID} letters, digits, '-', '.', '_' and ':'"
        )
    return list(ids)

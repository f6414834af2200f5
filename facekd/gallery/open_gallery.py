"""An open gallery: its contract, its encryption, and how its rows are read and written under both."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from facekd.errors import Misfit, UsageError
from facekd.gallery import encryption
from facekd.gallery.by_name import PeopleByName
from facekd.gallery.encryption import Cipher, Writing
from facekd.gallery.engine import Engine
from facekd.gallery.entries import Contract
from facekd.gallery.keys import KeySource
from facekd.gallery.place import Place
from facekd.gallery.stored_names import StoredNames
from facekd.gallery.template_rows import TemplateRows
from facekd.version import EARLIER_STUDENTS


class OpenGallery:
    """The gallery in the open ``file``, decrypted with ``key``, for a ``model`` in use (its contract).

    Raises `Misfit` if the gallery's space is neither the model's nor one of the ``compatible`` ones, and what
    `encryption.cipher_of` raises; the file is then closed.
    """

    def __init__(
        self, file: Engine, key: KeySource | None, model: Contract | None, compatible: Sequence[str]
    ) -> None:
        self.file = file
        self.by_name = PeopleByName(file, lambda: self.names, self.cipher_now)
        self._is_changing = False
        try:
            with file.reading():
                self.encryption = encryption.stated_in(file.db, file.path, file.schema)
            self._cipher = encryption.cipher_of(self.encryption, file.path, key)
            self.contract = self._read_contract()
            self._takes_templates = model is not None and model.space == self.contract.space
            if model is not None and not self._takes_templates and self.contract.space not in compatible:
                raise _misfit(file.path, self.contract, model)
        except BaseException:
            file.close()
            raise

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """As `GalleryRecords.transaction`."""
        with self.file.transaction():
            self._check_not_moved()
            self.cipher_now()
            self._is_changing = True  # no other program can change the encryption until the end
            try:
                yield
            finally:
                self._is_changing = False

    def must_take_templates(self) -> None:
        """Raise `RuntimeError` outside of a transaction, or if no templates can be added."""
        self.file.must_change()
        if not self._takes_templates:
            raise RuntimeError(
                "templates cannot be added to a gallery opened without a contract or in another space"
            )

    def cipher_now(self) -> Cipher | None:
        """The cipher of the gallery; `None` if it is not encrypted. Raises `InputOutput` if another program
        has changed the encryption since the gallery was opened."""
        if not self._is_changing:
            with self.file.reading():
                encryption.check_unchanged(self.file, self.encryption)
        return self._cipher

    @property
    def stored(self) -> TemplateRows:
        """How templates are stored. Raises as `cipher_now` does."""
        return TemplateRows(self.contract, self.file.schema, self.cipher_now())

    @property
    def names(self) -> StoredNames:
        """How names are stored."""
        return encryption.names_of(self._cipher)

    def name(self, number: int, uid: str, stored: str) -> str:
        """The name in a person's row. Raises `Unreadable` if it is not what was written."""
        name = self.names.read(uid, stored)
        if name is None:
            raise self.file.damaged(f"the name of person {number} cannot be read")
        return name

    def encrypt(self, key: KeySource | None, names: bool) -> int:
        """Rewrite all templates, encrypted with ``key``, or in the clear if it is `None`; with ``names`` the
        names of people are encrypted too. Return the number of templates. Raises as `encryption.rewrite`
        does, and `UsageError` if a search index holds templates in the clear."""
        if key is not None and self.file.is_indexed():
            raise UsageError(
                f"{self.file.path} has a search index, which holds its templates in the clear",
                "Drop the index first: facekd gallery index --engine exact",
            )
        before = self._writing
        self.file.owe_erasure()
        self.by_name.forget()
        self.encryption, self._cipher = encryption.new(key, names) if key else (None, None)
        encryption.state(self.file.db, self.encryption)
        return encryption.rewrite(self.file, before, self._writing)

    @property
    def _writing(self) -> Writing:
        return Writing(self.stored, self.names)

    def _read_contract(self) -> Contract:
        query = "SELECT space, dim, model, detector, aligner FROM contract"
        rows = self.file.rows(query, types=(str, int, str, str, str))
        if len(rows) != 1:
            raise self.file.damaged("the contract is missing")
        return Contract(*rows[0])

    def _check_not_moved(self) -> None:
        """Raise `Misfit` if the gallery was moved to another space since it was opened."""
        found = self._read_contract()
        if found.space != self.contract.space:
            raise _misfit(self.file.path, found, self.contract)


def _misfit(path: Place, gallery: Contract, model: Contract) -> Misfit:
    came_with = EARLIER_STUDENTS.get(gallery.model)
    shipped = f", an earlier student of facekd ({came_with})" if came_with else ""
    return Misfit(
        f"{path} was made with {gallery.model} (space {gallery.space[:12]}){shipped}, "
        f"which is incompatible with {model.model} (space {model.space[:12]})",
        f"Use --model with {gallery.model}, or move the gallery to this model: facekd gallery re-embed "
        "--from PHOTOS.",
    )

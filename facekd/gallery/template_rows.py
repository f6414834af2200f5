"""Templates as the rows of a gallery, each with a checksum over the whole row and its person."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Protocol

from facekd.errors import Misfit
from facekd.gallery.entries import Contract
from facekd.gallery.template import Template, checksum, is_unit, pack, row_said, unpack

#: the schema from which templates have a checksum
CHECKSUMS_SINCE = 2
#: the schema from which the checksum covers the person, the quality and the date
OWNERS_SINCE = 6


@dataclass(frozen=True)
class Owner:
    """The person of a template. ``uid`` is empty in galleries of an older schema, which have none."""

    uid: str
    name: str


class TemplateCipher(Protocol):
    """Encrypts embeddings, each bound to its row."""

    def encrypted(self, clear: bytes, said: bytes) -> bytes: ...

    def decrypted(self, blob: bytes, said: bytes) -> bytes | None: ...


class TemplateRows:
    """Writes and reads templates of a gallery with ``contract`` and ``schema``. A ``cipher`` encrypts them;
    the checksum is then that of the ciphertext, so that it can be checked without the key."""

    def __init__(self, contract: Contract, schema: int, cipher: TemplateCipher | None = None) -> None:
        self._space, self._dim, self._schema = contract.space, contract.dim, schema
        self._cipher = cipher

    @property
    def space(self) -> str:
        """The space of all templates."""
        return self._space

    @property
    def checksum_column(self) -> str:
        """The column to select from ``templates``: a gallery of schema 1, if only read, has none."""
        return "checksum" if self._schema >= CHECKSUMS_SINCE else "NULL"

    @property
    def uid_column(self) -> str:
        """The column to select from ``people``: needed only if the checksum covers it."""
        return "uid" if self._schema >= OWNERS_SINCE else "''"

    def packed(self, owner: Owner, template: Template) -> tuple[str, str, bytes, float, str, str]:
        """Space, photo, embedding, quality, date and checksum of a template of ``owner``.

        Raises `Misfit` for an embedding of another length, `ValueError` for one that is not of unit length.
        """
        embedding, quality = template.embedding, float(template.quality)
        if embedding.shape != (self._dim,):
            raise Misfit(
                f"the gallery holds embeddings of {self._dim} values, this one is {list(embedding.shape)}"
            )
        if not is_unit(embedding):
            raise ValueError("an embedding must have unit length")
        blob, seal = self.written(owner, template.photo, pack(embedding), quality, template.enrolled)
        return self._space, template.photo, blob, quality, template.enrolled, seal

    def unpacked(
        self, owner: Owner, photo: object, blob: object, quality: object, enrolled: object, seal: object
    ) -> Template | None:
        """The template in a row of ``owner``; `None` if the row is damaged."""
        if not (isinstance(photo, str) and isinstance(quality, float) and isinstance(enrolled, str)):
            return None
        if not (isinstance(owner.uid, str) and isinstance(owner.name, str) and isinstance(blob, bytes)):
            return None
        if not self.is_sealed(owner, photo, blob, quality, enrolled, seal):
            return None
        said = self._said(owner, photo, quality, enrolled)
        clear = blob if self._cipher is None else self._cipher.decrypted(blob, said)
        embedding = unpack(clear, self._dim)
        return None if embedding is None else Template(embedding, photo, quality, enrolled)

    def taken_over(
        self, other: TemplateRows, owner: Owner, new: Owner,
        photo: object, blob: object, quality: object, enrolled: object, seal: object,
    ) -> tuple[bytes, str] | None:  # fmt: skip
        """The embedding and checksum that turn a row of ``owner``, in the form of ``other``, into a row of
        the owner ``new`` in this form; `None` if the row is damaged."""
        template = other.unpacked(owner, photo, blob, quality, enrolled, seal)
        if template is None:
            return None
        clear = pack(template.embedding)
        return self.written(new, template.photo, clear, template.quality, template.enrolled)

    def is_sealed(
        self, owner: Owner, photo: str, blob: bytes, quality: float, enrolled: str, seal: object
    ) -> bool:
        """Whether a row of ``owner`` has the right checksum, encrypted or not; in a schema without checksums
        every row does."""
        if self._schema < CHECKSUMS_SINCE:
            return True
        return seal == self.seal(owner, photo, blob, quality, enrolled)

    def seal(self, owner: Owner, photo: str, blob: bytes, quality: float, enrolled: str) -> str:
        """The checksum of a row of ``owner`` in this schema; ``blob`` is the stored embedding."""
        return self._seal(self._said(owner, photo, quality, enrolled), photo, blob)

    def written(
        self, owner: Owner, photo: str, clear: bytes, quality: float, enrolled: str
    ) -> tuple[bytes, str]:
        """The stored form of the ``clear`` bytes of an embedding of ``owner``, and their checksum."""
        said = self._said(owner, photo, quality, enrolled)
        blob = clear if self._cipher is None else self._cipher.encrypted(clear, said)
        return blob, self._seal(said, photo, blob)

    def _said(self, owner: Owner, photo: str, quality: float, enrolled: str) -> bytes:
        return row_said(self._space, self._dim, owner.uid, owner.name, photo, quality, enrolled)

    def _seal(self, said: bytes, photo: str, blob: bytes) -> str:
        if self._schema < OWNERS_SINCE:
            return checksum(self._space, self._dim, photo, blob)
        return hashlib.sha256(said + blob).hexdigest()

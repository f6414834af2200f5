"""Templates as the rows of a gallery, each with a checksum over all that the row says and whose it is."""

from __future__ import annotations

from dataclasses import dataclass

from facekd.errors import Misfit
from facekd.gallery.entries import Contract
from facekd.gallery.template import Template, checksum, is_unit, pack, row_checksum, unpack

#: the schema from which templates carry a checksum
CHECKSUMS_SINCE = 2
#: the schema from which the checksum covers whose the template is, its quality and its date
OWNERS_SINCE = 6


@dataclass(frozen=True)
class Owner:
    """Whose a template is. ``uid`` is empty in galleries of an older schema, which know none."""

    uid: str
    name: str


class TemplateRows:
    """Writes and reads templates made under ``contract``, in a gallery of some ``schema``."""

    def __init__(self, contract: Contract, schema: int) -> None:
        self._space, self._dim, self._schema = contract.space, contract.dim, schema

    @property
    def checksum_column(self) -> str:
        """What to select of ``templates``: a gallery of schema 1 that is only read has no checksums."""
        return "checksum" if self._schema >= CHECKSUMS_SINCE else "NULL"

    @property
    def uid_column(self) -> str:
        """What to select of ``people``: it matters only where the checksum covers it."""
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
        blob = pack(embedding)
        seal = self.seal(owner, template.photo, blob, quality, template.enrolled)
        return self._space, template.photo, blob, quality, template.enrolled, seal

    def unpacked(
        self, owner: Owner, photo: object, blob: object, quality: object, enrolled: object, seal: object
    ) -> Template | None:
        """The template in a row of ``owner``; `None` where the row is not what was written."""
        if not (isinstance(photo, str) and isinstance(quality, float) and isinstance(enrolled, str)):
            return None
        if not (isinstance(owner.uid, str) and isinstance(owner.name, str) and isinstance(blob, bytes)):
            return None
        embedding = unpack(blob, self._dim)
        if embedding is None:
            return None
        if self._schema >= CHECKSUMS_SINCE and seal != self.seal(owner, photo, blob, quality, enrolled):
            return None
        return Template(embedding, photo, quality, enrolled)

    def seal(self, owner: Owner, photo: str, blob: bytes, quality: float, enrolled: str) -> str:
        """The checksum of a row of ``owner``, as this schema has it."""
        if self._schema < OWNERS_SINCE:
            return checksum(self._space, self._dim, photo, blob)
        return row_checksum(self._space, self._dim, owner.uid, owner.name, photo, blob, quality, enrolled)

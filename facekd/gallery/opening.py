"""Open a gallery for the model in use, or make a new one: at once, or late, with its first change."""

from __future__ import annotations

from dataclasses import astuple, dataclass

from facekd.gallery import encryption
from facekd.gallery.engine import CONTRACT, Connection, make_gallery, open_engine, plan_gallery
from facekd.gallery.entries import Contract
from facekd.gallery.keys import KeySource
from facekd.gallery.open_gallery import OpenGallery
from facekd.gallery.place import Place
from facekd.gallery.template import now


@dataclass(frozen=True)
class Opening:
    """Opens the gallery at ``path`` for ``model``, the contract of the model in use (`None` for no model), or
    for a gallery of one of the ``compatible`` spaces; makes it under that contract.

    ``key`` opens an encrypted gallery and encrypts a new one, with ``encrypt_names`` the names of people too.
    """

    path: Place
    model: Contract | None
    compatible: tuple[str, ...]
    key: KeySource | None
    encrypt_names: bool

    def open(self, read_only: bool) -> OpenGallery:
        """Open the gallery. Raises as `OpenGallery` does."""
        return OpenGallery(open_engine(self.path, read_only), self.key, self.model, self.compatible)

    def make(self) -> None:
        """Make the gallery, unless there is one already."""
        make_gallery(self.path, self._fill)

    def plan(self) -> OpenGallery | None:
        """An empty stand-in, to be read in place of the gallery until `make` is called. `None` if the gallery
        exists or had to be made now, as in a database. Raises `InputOutput` if it cannot be made."""
        planned = plan_gallery(self.path, self._fill)
        if planned is None:
            return None
        return OpenGallery(planned, self.key, self.model, self.compatible)

    def _fill(self, db: Connection) -> None:
        """Turn empty tables into those of a new gallery."""
        assert self.model is not None
        if self.key is not None:
            encryption.state(db, encryption.new(self.key, self.encrypt_names)[0])
        db.execute(CONTRACT, (*astuple(self.model), now()))

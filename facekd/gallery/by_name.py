"""Look up people by name: the one with exactly this name, otherwise the one whose name is spelled alike."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from contextlib import suppress

from facekd.errors import NotFound, UsageError
from facekd.gallery.engine import Engine
from facekd.gallery.names import fold, shown
from facekd.gallery.stored_names import NameCipher, StoredNames


class PeopleByName:
    """Finds the number and stored name of people in the open gallery ``file``. ``stored`` returns how names
    are stored; ``check`` raises if another program has changed that, because then nobody would be found."""

    def __init__(self, file: Engine, stored: Callable[[], StoredNames], check: Callable[[], object]) -> None:
        self._file, self._stored, self._check = file, stored, check
        self._unfolded: dict[str, list[tuple[int, str]]] | None = None

    def forget(self) -> None:
        """Look again, because somebody was renamed or removed."""
        self._unfolded = None

    def found(self, name: str) -> tuple[int, str]:
        """As `find`, but raises `NotFound`."""
        found = self.find(name)
        if found is None:
            raise NotFound(
                f"'{shown(name)}' is not enrolled in {self._file.path}",
                "'facekd gallery list' shows who is enrolled.",
            )
        return found

    def find(self, name: str) -> tuple[int, str] | None:
        """The person whose stored name is ``name``, otherwise the one whose name is spelled alike.

        Galleries of version 0.1.0 hold names as they were typed, so two people's may be spelled alike: each
        is found by their exact name. Raises `UsageError` if several names match and none exactly,
        `Unreadable` if an encrypted name is not what was written.
        """
        cipher = self._stored().cipher
        found = self._find_clear(name) if cipher is None else self._find_encrypted(fold(name), cipher)
        if found is None:
            self._check()
        return found

    def _find_encrypted(self, folded: str, cipher: NameCipher) -> tuple[int, str] | None:
        """All of these names are folded."""
        try:
            lookup = cipher.lookup(folded)
        except UnicodeEncodeError:  # a lone surrogate is in nobody's name
            return None
        query = "SELECT id, uid, name FROM people WHERE lookup = ?"
        rows = self._file.rows(query, lookup, types=(int, str, str))
        if not rows:
            return None
        number, uid, written = rows[0]
        if cipher.decrypted(uid, written) != folded:
            raise self._file.damaged(f"the name of person {number} cannot be read")
        return number, folded

    def _find_clear(self, name: str) -> tuple[int, str] | None:
        for spelling in dict.fromkeys((name, unicodedata.normalize("NFC", name).strip(), fold(name))):
            if "\0" in spelling:  # no name contains it, and PostgreSQL does not accept it
                continue
            with suppress(UnicodeEncodeError):  # no name contains a lone surrogate
                query = "SELECT id, name FROM people WHERE name = ?"
                rows = self._file.rows(query, spelling, types=(int, str))
                if rows:
                    return rows[0][0], spelling
        alike = self._folded().get(fold(name), [])
        if len(alike) > 1:
            spelled = ", ".join(ascii(other) for _, other in alike)
            raise UsageError(f"{len(alike)} people in {self._file.path} match this name: {spelled}")
        return alike[0] if alike else None

    def _folded(self) -> dict[str, list[tuple[int, str]]]:
        """The people whose stored name is not folded, by their folded name. Only galleries of version 0.1.0
        have any, and none are added."""
        if self._unfolded is None:
            self._unfolded = {}
            for number, stored in self._file.unfolded():
                if fold(stored) != stored:
                    self._unfolded.setdefault(fold(stored), []).append((number, stored))
        return self._unfolded

"""A program that somebody would write over a client generated from the service's document. It makes a call of
each kind and prints what came; no line of it knows of paths, fields or headers.

    python generated_client_calls.py FOLDER ADDRESS TOKEN PHOTOS

FOLDER holds the package ``facekd_client``. It runs in the environment of the generator, without facekd.
"""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path


def main(folder: str, address: str, token: str, photos: Path) -> None:
    sys.path.insert(0, folder)
    from facekd_client import AuthenticatedClient, Client
    from facekd_client.api.people import enroll, list_people, remove_person, show_person
    from facekd_client.api.photos import identify, verify
    from facekd_client.api.state import health, metrics, ready
    from facekd_client.models import EnrollBody, EnrollOnMany, IdentifyBody, VerifyBody
    from facekd_client.types import File

    def photo(name: str) -> File:
        return File(io.BytesIO((photos / name).read_bytes()), name, "image/jpeg")

    anybody, known = Client(address), AuthenticatedClient(address, token)
    name = "Ann Lee/9"
    told = {
        "health": health.sync(client=anybody).status,
        "ready": ready.sync(client=anybody).status,
        "unknown": list_people.sync(client=AuthenticatedClient(address, "wrong")).failure.reason,
        "enrolled": enroll.sync(
            name, client=known, body=EnrollBody([photo("a.jpg"), photo("b.jpg")]), on_many=EnrollOnMany.BEST
        ).added,
        "two": verify.sync(client=known, body=VerifyBody(photo("a.jpg"), other=photo("b.jpg"))).same,
        "claim": verify.sync(client=known, body=VerifyBody(photo("a.jpg"), name=name)).claim,
        "found": [
            one.name
            for one in identify.sync(client=known, body=IdentifyBody(photo("b.jpg")), top=3).candidates
        ],
        "people": [one.name for one in list_people.sync(client=known).people],
        "photos": len(show_person.sync(name, client=known).photos),
        "conflict": enroll.sync("Bo", client=known, body=EnrollBody([photo("a.jpg")])).failures[0].reason,
        "blank": identify.sync(client=known, body=IdentifyBody(photo("blank.jpg"))).failure.reason,
        "removed": remove_person.sync(name, client=known).templates,
        "gone": remove_person.sync(name, client=known).failure.reason,
        "metrics": "facekd_requests_total" in metrics.sync_detailed(client=known).content.decode(),
    }
    print(json.dumps(told))


if __name__ == "__main__":
    main(*sys.argv[1:4], Path(sys.argv[4]))

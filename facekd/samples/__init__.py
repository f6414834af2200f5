"""People who do not exist, drawn for the demo and the tests. No torch here."""

from facekd.samples.album import Counts, draw_people, person_seed
from facekd.samples.person import Person, person
from facekd.samples.photo import draw, landmarks

__all__ = ["Counts", "Person", "draw", "draw_people", "landmarks", "person", "person_seed"]

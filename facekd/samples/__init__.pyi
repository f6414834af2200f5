from .album import draw_people as draw_people
from .album import person_seed as person_seed
from .identity import person as person
from .photo import draw as draw
from .photo import landmarks as landmarks

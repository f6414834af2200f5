from .load import EXPORTED as EXPORTED
from .load import KNOWN_TEACHERS as KNOWN_TEACHERS
from .load import load_network as load_network
from .load import load_teacher as load_teacher
from .load import named_file as named_file
from .several import SeveralTeachers as SeveralTeachers
from .several import members_of as members_of
from .several import side_by_side as side_by_side

"""Teachers: frozen networks that label views, all behind `facekd.models.Teacher`."""

from facekd.models.teachers.load import EXPORTED, KNOWN_TEACHERS, load_teacher, named_file
from facekd.models.teachers.several import SeveralTeachers

__all__ = ["EXPORTED", "KNOWN_TEACHERS", "SeveralTeachers", "load_teacher", "named_file"]

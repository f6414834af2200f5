"""Teachers: frozen networks that label views, all behind `facekd.models.Teacher`."""

from facekd.models.teachers.load import load_teacher
from facekd.models.teachers.several import SeveralTeachers

__all__ = ["SeveralTeachers", "load_teacher"]

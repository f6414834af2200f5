"""Teachers: frozen networks that label views, all behind `facekd.models.Teacher`."""

from facekd.models.teachers.load import load_teacher

__all__ = ["load_teacher"]

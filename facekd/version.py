"""The version of facekd, stated once."""

__version__ = "0.2.0"

#: students that shipped before the present one, and the facekd that they came with
EARLIER_STUDENTS = {"facekd-student-2026-11": "development versions before 0.2.0"}

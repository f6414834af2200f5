"""The version of facekd, stated once."""

__version__ = "0.2.0"

#: earlier shipped students, and the versions of facekd that they came with
EARLIER_STUDENTS = {
    "facekd-student-2026-11": "development versions before 0.2.0",
    "facekd-student-2026-11b": "development versions before 0.2.0",
    "facekd-student-2026-11c": "development versions before 0.2.0",
    "facekd-student-2026-11d": "development versions before 0.2.0",
    "facekd-student-2026-11e": "development versions before 0.2.0",
    "facekd-student-2026-11f": "development versions before 0.2.0",
}

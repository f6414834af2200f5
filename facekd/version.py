"""The version of facekd, stated once."""

__version__ = "0.2.0"

"""The version of facekd, stated once."""

__version__ = "0.1.0"

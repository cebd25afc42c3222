"""Version of the package, kept apart so that building needs no import."""

__version__ = "0.1.0"

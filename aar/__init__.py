"""aar: an automated alignment researcher for weak-to-strong generalisation."""

__version__ = "0.1.0"

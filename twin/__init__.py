"""The core of the City Twin: city, View, datum, grid, access, database. Imports nothing of the other packages."""

from importlib.metadata import version

__all__ = ["__version__"]

__version__ = version("citytwin")

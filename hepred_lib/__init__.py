"""Predict hematoma expansion after spontaneous intracerebral hemorrhage: the library under the study book."""

__version__ = "0.2.0"

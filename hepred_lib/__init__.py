"""Predict hematoma expansion after spontaneous intracerebral hemorrhage: the library under the study book."""

__version__ = "0.1.0"

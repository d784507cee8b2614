"""The executed book as a static site: chapters as a study left them, its figures, and a page that computes a risk."""

from hepred_lib.site.build import build_site

__all__ = ["build_site"]

"""The executed book as a static site: notebooks are shown as a study left them, never run again."""

project = "hepred"
author = "The hepred authors"
extensions = ["myst_nb"]
nb_execution_mode = "off"
html_theme = "sphinx_book_theme"
html_title = "Will this hematoma grow?"
html_theme_options = {"use_download_button": False}
root_doc = "index"
suppress_warnings = ["mystnb.unknown_mime_type"]

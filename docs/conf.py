"""Settings of the site; ``hepred site`` copies them beside the pages that it writes.

Notebooks are shown as a study left them, never run again, and no page asks for a file from elsewhere.
"""

from pathlib import Path

project = "hepred"
author = "The hepred authors"
root_doc = "index"
language = "en"
extensions = ["myst_nb", "hepred_lib.site.mathml"]
bibtex_bibfiles = [path.name for path in Path(__file__).parent.glob("*.bib")]
if bibtex_bibfiles:
    extensions.append("sphinxcontrib.bibtex")

nb_execution_mode = "off"
nb_ipywidgets_js = {}
nb_code_prompt_show = "Show code"
nb_code_prompt_hide = "Hide code"
myst_enable_extensions = ["dollarmath", "deflist"]
myst_update_mathjax = False
html_math_renderer = "mathml"

numfig = True
numfig_secnum_depth = 0
numfig_format = {"figure": "Figure %s", "table": "Table %s"}

html_theme = "sphinx_book_theme"
html_title = "Will this hematoma grow?"
html_theme_options = {
    "use_download_button": False,
    "use_fullscreen_button": False,
    "show_navbar_depth": 1,
    "show_toc_level": 2,
    "home_page_in_toc": True,
    "navbar_persistent": [],
    "navbar_end": [],
    "extra_footer": "For research only: nothing here is a medical device or may guide the care of a patient.",
}
html_context = {"default_mode": "auto"}
html_static_path = ["_static"]
html_favicon = "_static/favicon.svg"
html_use_index = False
html_css_files = ["book.css"]
html_js_files = ["book.js"]
html_show_copyright = False
html_show_sphinx = False
html_show_sourcelink = False
html_copy_source = False

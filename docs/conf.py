"""Settings of the site; ``hepred site`` copies this folder beside the notebooks of a study and calls Sphinx.

Notebooks are shown as the study left them, never run again, and no page asks for a file from elsewhere.
"""

from pathlib import Path

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml

import hepred_lib
import ich_phantom

project = "hepred"
author = "The hepred authors"
root_doc = "index"
language = "en"
extensions = ["myst_nb", "sphinxcontrib.bibtex", "sphinx.ext.apidoc", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
bibtex_bibfiles = ["references.bib"]
exclude_patterns = ["api/*/modules.rst", "_static/notebooks/*.ipynb"]

nb_execution_mode = "off"
nb_output_stderr = "remove"
nb_ipywidgets_js = {}
nb_code_prompt_show = "Show code"
nb_code_prompt_hide = "Hide code"
myst_enable_extensions = ["dollarmath", "deflist"]
myst_update_mathjax = False
html_math_renderer = "mathml"

if not tags.has("reference"):  # noqa: F821, from Sphinx
    extensions.remove("sphinx.ext.apidoc")
apidoc_modules = [
    {
        "path": str(Path(package.__file__).parent),
        "destination": f"api/{package.__name__}",
        "automodule_options": {"members"},
    }
    for package in (hepred_lib, ich_phantom)
]
apidoc_module_first = True
autodoc_typehints = "none"
autodoc_use_type_comments = False
autodoc_member_order = "bysource"
napoleon_google_docstring = False
napoleon_use_ivar = True
suppress_warnings = ["ref.python"]  # a type such as "shape" is the name of several attributes

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


def setup(app):
    """Formulas as MathML, which browsers draw themselves: no script and no font has to be fetched."""
    app.add_html_math_renderer("mathml", inline_renderers=(_inline, None), block_renderers=(_block, None))


def _inline(translator, node):
    translator.body.append(tex2mathml(node.astext(), as_block=False))
    raise nodes.SkipNode


def _block(translator, node):
    translator.body.append(f'<div class="formula">{tex2mathml(node.astext(), as_block=True)}</div>\n')
    raise nodes.SkipNode

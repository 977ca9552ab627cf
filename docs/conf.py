"""How Sphinx builds this folder into the site; `make docs` calls it."""

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE / "_extensions"), str(HERE.parent / "src")]

import multilayer  # noqa: E402  from beside this folder

project = "multilayer"
author = "The multilayer authors"
copyright = "The multilayer authors, BSD-3-Clause"
version = release = multilayer.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "pictures", "reference"]
smartquotes = False  # values such as "cosine" are to be copied
exclude_patterns = ["_extensions"]
nitpicky = True  # a link to a name that the reference lacks is an error
# What belongs to Python and to other packages is shown, and not linked: the site is built without a network.
nitpick_ignore_regex = [
    (r"py:.*", r"(?!multilayer\b).*"),
    (
        r"py:.*",
        r"multilayer\.(?!nn\.)[a-z_]\w*\..*",
    ),  # types that stand in signatures and in no page
]

myst_enable_extensions = ["deflist", "fieldlist"]
myst_heading_anchors = (
    4  # links to headings, with the anchors that GitHub gives them
)
suppress_warnings = [
    "myst.header"
]  # a page that begins with a level below the last one's

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True  # as they are written, not as they print
maximum_signature_line_length = 88
python_use_unqualified_type_names = True
add_module_names = False
toc_object_entries_show_parents = "hide"

html_theme = "pydata_sphinx_theme"
html_title = f"multilayer {version}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {
    "logo": {"text": "multilayer"},
    "navbar_end": ["theme-switcher"],
    "navbar_align": "left",
    "header_links_before_dropdown": 6,
    "show_toc_level": 2,
    "show_nav_level": 1,
    "navigation_with_keys": False,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
    "article_footer_items": [],
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}
html_sidebars = {"index": []}

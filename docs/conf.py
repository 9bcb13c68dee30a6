"""How Sphinx builds the site: ``sphinx-build -W docs build/html``. Nothing is fetched, neither here nor by a reader."""

import importlib
import itertools
import json
import operator
import os
import re
import shutil
import unicodedata
from pathlib import Path
from typing import Any

import latex2mathml.converter
import sphinx.search
from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.search.en import SearchEnglish
from sphinx.util import logging
from sphinx.util.math import get_node_equation_number
from sphinx.writers.html5 import HTML5Translator
from sphinx_gallery.sorting import ExplicitOrder

import numnet

logger = logging.getLogger(__name__)
HERE = Path(__file__).parent
EXAMPLES = HERE.parent / "examples"

project = "numnet"
author = "The numnet developers"
copyright = author
version = release = numnet.__version__

extensions = ["myst_nb", "numpydoc", "sphinx.ext.autodoc", "sphinx.ext.viewcode", "sphinx_gallery.gen_gallery"]
nitpicky = True
nitpick_ignore_regex = [
    (r"py:.*", r"numpy\..*"),  # NumPy's own pages are not here
    (r"py:obj", r"[a-z_]+"),  # parameters are in `backticks`, too, and some are named like a module: `test`
]
highlight_language = "none"  # formulas in docstrings are no Python
default_role = "autolink"  # `Trainer.fit` in a docstring is a link where there is such a name, and code elsewhere
exclude_patterns = ["gallery/*.py", "gallery/*.ipynb", "gallery/*.zip"]

# The pages: MyST, and notebooks as they were committed, with their outputs.
myst_enable_extensions = ["amsmath", "attrs_block", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
myst_update_mathjax = False
nb_execution_mode = "off"
nb_ipywidgets_js = {}  # from elsewhere, by default
shutil.rmtree(HERE / "notebooks", ignore_errors=True)
(HERE / "notebooks").mkdir()
for notebook in EXAMPLES.glob("*.ipynb"):  # with a link to the file; other pages are in another place than in docs/
    book = json.loads(notebook.read_text(encoding="utf-8"))
    for cell in book["cells"]:
        if cell["cell_type"] == "markdown":
            cell["source"] = "".join(cell["source"]).replace("](../docs/", "](../")
    book["cells"][0]["source"] += (
        f"\n\n{{download}}`Download this notebook <../../examples/{notebook.name}>` to run it in Jupyter."
    )
    (HERE / "notebooks" / notebook.name).write_text(json.dumps(book), encoding="utf-8")

# The API reference.
autodoc_typehints = "none"  # the docstrings say it in words
autodoc_member_order = "bysource"
numpydoc_show_class_members = False  # each page says which it shows
toc_object_entries_show_parents = "hide"

# The gallery: examples/plot_*.py, run in this order.
GALLERY = (
    "plot_report",
    "plot_forward",
    "plot_activations",
    "plot_cost_surface",
    "plot_two_costs",
    "plot_saturation",
    "plot_learning_rates",
    "plot_momentum",
    "plot_gradcheck",
    "plot_weights",
    "plot_mistakes",
    "plot_estimators",
)
sphinx_gallery_conf = {
    "examples_dirs": str(EXAMPLES),
    "gallery_dirs": "gallery",
    "filename_pattern": r"/plot_",
    "ignore_pattern": r"^(?!plot_)",
    "within_subsection_order": ExplicitOrder([*(f"{name}.py" for name in GALLERY), "*"]),
    "copyfile_regex": "",
    "download_all_examples": False,
    "min_reported_time": float("inf"),
    "remove_config_comments": True,
    "show_signature": False,
    "image_srcset": ["2x"],
    "matplotlib_animations": False,
    "capture_repr": ("_repr_html_",),
    "write_computation_times": False,
    "abort_on_example_error": True,
}
os.environ["MPLBACKEND"] = "Agg"

# The look.
html_theme = "furo"
html_title = "numnet"
html_static_path = ["_static"]
html_css_files = ["numnet.css"]
html_favicon = "_static/numnet.svg"
html_theme_options = {"light_logo": "numnet.svg", "dark_logo": "numnet.svg", "top_of_page_buttons": []}
html_copy_source = False
templates_path = ["_templates"]
pygments_style = "friendly"
pygments_dark_style = "github-dark"
html_math_renderer = "mathml"
html_search_language = "numnet"
html_show_sphinx = False


class Search(SearchEnglish):
    """English words by their stems; of Chinese, which has no spaces, every two characters that are neighbours."""

    lang = "numnet"
    js_splitter_code = r"""
var splitQuery = (query) => (query.match(/[一-鿿]+|(?:(?![一-鿿])[\p{L}\p{N}_])+/gu) || []).flatMap((run) =>
  /[一-鿿]{2}/.test(run) ? [...run].slice(1).map((character, i) => run[i] + character) : [run]);
"""

    def split(self, input: str) -> list[str]:
        """Return the words."""
        runs = re.findall(r"[一-鿿]+|(?:(?![一-鿿])\w)+", input)
        return [
            word
            for run in runs
            for word in (map("".join, itertools.pairwise(run)) if re.match("[一-鿿]{2}", run) else [run])
        ]


def mathml(node: nodes.math | nodes.math_block, display: str) -> str:
    """Return LaTeX as MathML, which browsers set without a script."""
    latex = re.sub(r"{(aligned|align|split)}", "{align*}", node.astext())  # of these it knows one, unnumbered
    result = latex2mathml.converter.convert(latex, display=display)
    if re.search(r"\\|&(?!#?\w+;)", result):
        logger.warning("latex2mathml does not know all of %s", latex, location=node)
    result = re.sub(r"<mi>(&#x000..;)</mi>", r'<mi mathvariant="normal">\1</mi>', result)  # \mathrm d, say
    # A minus after another operator or an opening bracket is a sign, and stands close to what follows.
    sign = r"(<mo[^>]*>&#x(?:0003D|00028|0005B|02264|02248|02212);</mo><mo)(>&#x02212;<)"
    result = re.sub(sign, r'\1 form="prefix"\2', result)
    # TeX has a thin space before ln, max or softmax, and after it unless a bracket follows.
    name = r"<(m[io])>([a-z]{2,})</\1>"
    result = re.sub(name + r"(?=<mo[^>]*>(&#x00028;|\())", r'<mo lspace="0.167em" rspace="0">\2</mo>', result)
    result = re.sub(name, r'<mo lspace="0.167em" rspace="0.167em">\2</mo>', result)
    # An operator has spaces of its own; only a closing bracket has none.
    return re.sub(r'(?<!&#x00029;)</mo><mo lspace="0.167em"', '</mo><mo lspace="0"', result)


def take_commas(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Put the comma that follows a formula into its node, or else a line might begin with it."""
    for node in doctree.findall(nodes.math):
        after = node.next_node(descend=False, siblings=True)
        if isinstance(after, nodes.Text) and unicodedata.category(after.astext()[0]) in ("Pe", "Po"):
            node["comma"] = after.astext()[0]
            after.parent.replace(after, nodes.Text(after.astext()[1:]))


def visit_math(self: HTML5Translator, node: nodes.math) -> None:
    """Write a formula in a line."""
    self.body.append(f'<span class="formula">{mathml(node, "inline")}{node.get("comma", "")}</span>')
    raise nodes.SkipNode


def visit_math_block(self: HTML5Translator, node: nodes.math_block) -> None:
    """Write a formula by itself, with its number and anchor if it has a label."""
    self.body.append(self.starttag(node, "div", CLASS="math"))
    self.body.append(f"<div>{mathml(node, 'block')}</div>")
    if node["number"]:
        self.body.append(f'<span class="eqno">({get_node_equation_number(self, node)})')
        self.add_permalink_ref(node, "Link to this equation")
        self.body.append("</span>")
    self.body.append("</div>\n")
    raise nodes.SkipNode


def find_public_name(app: Sphinx, env: BuildEnvironment, node: pending_xref, contnode: nodes.Element) -> Any:
    """Return a link for a name without ``numnet.`` in a docstring of any module: `Linear`, say."""
    domain = env.domains.python_domain
    return domain.resolve_xref(env, node["refdoc"], app.builder, "obj", f"numnet.{node['reftarget']}", node, contnode)


def add_anchor(app: Sphinx, domain: str, kind: str, content: nodes.Element) -> None:
    """Let the link back from the source, to numnet.layers.Linear, find numnet.Linear."""
    signature: Any = content.parent[0]
    item = operator.attrgetter(signature["fullname"])(importlib.import_module(signature["module"]))
    name = f"{item.__module__}.{signature['fullname']}"
    if name not in signature["ids"]:
        signature["ids"].append(name)


def write_drawing_page(app: Sphinx, error: Exception | None) -> None:
    """Train a network, and write the page to draw on for it."""
    if error is not None or app.builder.format != "html":
        return
    train, _ = numnet.datasets.digits()
    layers = [numnet.Linear(64, 64), numnet.Sigmoid(), numnet.Linear(64, 10), numnet.Softmax()]
    net = numnet.Sequential(*layers, seed=0)
    sgd = numnet.SGD(lr=0.3, momentum=0.9)
    trainer = numnet.Trainer(net, numnet.CrossEntropy(), sgd, seed=0)
    trainer.fit(train, epochs=30, batch_size=64, progress=False)
    numnet.export_html(net, app.outdir / "_static" / "draw.html", overwrite=True)


def set_language(app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: object) -> None:
    """Say which pages are in Chinese, so that browsers choose the right glyphs."""
    if pagename.startswith("zh/"):
        context["language"] = "zh-CN"


def setup(app: Sphinx) -> None:
    """Give Sphinx what is made here."""
    sphinx.search.languages["numnet"] = Search
    app.add_html_math_renderer("mathml", (visit_math, None), (visit_math_block, None))
    app.connect("missing-reference", find_public_name)
    app.connect("object-description-transform", add_anchor)
    app.connect("doctree-resolved", take_commas)
    app.connect("html-page-context", set_language)
    app.connect("build-finished", write_drawing_page)

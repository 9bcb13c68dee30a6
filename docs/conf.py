"""How Sphinx builds the site: ``sphinx-build -W docs build/html``. Nothing is fetched, neither here nor by a reader."""

import importlib
import itertools
import json
import operator
import os
import re
import shutil
import subprocess
import sys
import unicodedata
from pathlib import Path
from typing import Any

import latex2mathml.converter
import sphinx.locale
import sphinx.search
import threadpoolctl
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
threadpoolctl.threadpool_limits(1)  # with more threads, numnet warns on a busy machine, and the gallery shows that
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
highlight_language = "text"  # formulas in docstrings are no Python; "none" would leave the source pages without colours
default_role = "autolink"  # `Trainer.fit` in a docstring is a link where there is such a name, and code elsewhere
exclude_patterns = ["gallery/*.py", "gallery/*.ipynb", "gallery/*.zip"]

# The pages: MyST, and notebooks as they were committed, with their outputs.
myst_enable_extensions = ["amsmath", "attrs_block", "colon_fence", "deflist", "dollarmath", "substitution"]
myst_heading_anchors = 3
myst_update_mathjax = False
try:
    numnet.datasets.mnist(download=False)
    DIGITS = "mnist()"
    trained_on = "The network on this page was trained on MNIST while this site was built."
except (numnet.datasets.DownloadError, OSError):
    DIGITS = "digits()"
    trained_on = (
        "MNIST was not at hand when this site was built. So the network on this page was trained on the 1,797 digits "
        "of 8 x 8 pixels that come with numnet, and sees your drawing in 8 x 8 pixels."
    )
myst_substitutions = {"trained_on": trained_on}
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
    result = result.replace("<mo>&#x02016;</mo>", '<mo stretchy="false">&#x02016;</mo>')  # the bars of a norm
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
            place = next(i for i, child in enumerate(after.parent) if child is after)  # replace() finds an equal text
            after.parent[place] = nodes.Text(after.astext()[1:])


def visit_math(self: HTML5Translator, node: nodes.math) -> None:
    """Write a formula in a line."""
    self.body.append(f'<span class="formula">{mathml(node, "inline")}{node.get("comma", "")}</span>')
    raise nodes.SkipNode


def visit_math_block(self: HTML5Translator, node: nodes.math_block) -> None:
    """Write a formula by itself, with its number and anchor if it has a label."""
    self.body.append(f'<div class="math"><div>{mathml(node, "block")}</div>')  # the theme's box around it has the id
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
    """Run the lines on the page "Draw a digit": they train a network, and write the page to draw on."""
    if error is not None or app.builder.format != "html":
        return
    (lines,) = re.findall(r"^```python\n(.*?)^```$", (HERE / "draw.md").read_text("utf-8"), re.DOTALL | re.MULTILINE)
    lines = lines.replace("nn.datasets.mnist()", f"nn.datasets.{DIGITS}")
    this = {**os.environ, "PYTHONPATH": str(Path(numnet.__file__).parents[1])}  # in another folder, this numnet as well
    options = {"cwd": app.outdir / "_static", "env": this, "stdout": subprocess.DEVNULL}
    subprocess.run([sys.executable, "-c", lines], **options, check=True)  # noqa: S603


CHINESE = {
    "Next": "下一页",
    "Previous": "上一页",
    "Home": "首页",
    "Search": "搜索",
    "On this page": "本页目录",
    "Back to top": "回到顶部",
    "Skip to content": "跳到正文",
    "Copyright &#169; %(copyright)s": "版权所有 &#169; %(copyright)s",
    "Made with ": "页面主题来自 ",
}


def set_language(app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: object) -> None:
    """Make all around a Chinese page Chinese, and let no page lead on to one in the other language."""

    def in_chinese(page: str) -> bool:
        return page.startswith("zh/")

    _, *neighbours = app.builder.relations.get(pagename, (None, None, None))
    for name, page in zip(("prev", "next"), neighbours, strict=True):
        if page and in_chinese(page) != in_chinese(pagename):
            context[name] = None
    if pagename == "search":  # which is in Chinese if it is asked for on a Chinese page
        catalogue = Path(sphinx.locale.__file__).parent / "zh_CN" / "LC_MESSAGES" / "sphinx.js"
        context["catalogue"] = catalogue.read_text("utf-8")
    if in_chinese(pagename):
        context["language"] = "zh-CN"  # so that browsers choose the right glyphs
        context["_"] = context["gettext"] = lambda text: CHINESE.get(text, text)
        context["body"] = re.sub("Link to this [a-z]+", "此处的链接", context["body"])
        context["master_doc"] = "zh/index"  # to which the name of the site leads
        parts = re.split('(?=<p class="caption")', context["furo_navigation_tree"])
        context["furo_navigation_tree"] = "".join(sorted(parts, key=lambda part: ">中文<" not in part))


def setup(app: Sphinx) -> None:
    """Give Sphinx what is made here."""
    sphinx.search.languages["numnet"] = Search
    app.add_html_math_renderer("mathml", (visit_math, None), (visit_math_block, None))
    app.connect("missing-reference", find_public_name)
    app.connect("object-description-transform", add_anchor)
    app.connect("doctree-resolved", take_commas)
    app.connect("html-page-context", set_language, priority=900)  # after the theme has made its list of pages
    app.connect("build-finished", write_drawing_page)

"""The Chinese pages: do they still say what the English ones say, as far as it can be compared?"""

import os.path
import re
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DERIVATIONS = [page.relative_to(ROOT / "docs").as_posix() for page in sorted(ROOT.glob("docs/derivations/*.md"))]
IN_DOCS = [
    "quickstart.md",
    "forty-lines.md",
    "pictures.md",
    "interrupted.md",
    "tables.md",
    "reading.md",
    "quadratic-vs-cross-entropy.md",
    "literature.md",
    "parallel.md",
    "other-tools.md",
    "cheat-sheet.md",
    *DERIVATIONS,
]
PAGES = {"README.md": "README.zh-CN.md"} | {f"docs/{page}": f"docs/zh/{page}" for page in IN_DOCS}
CHINESE = [*PAGES.values(), "docs/zh/index.md"]

FENCED = re.compile(r"^```(.*?)^```$", re.MULTILINE | re.DOTALL)
INDENTED = re.compile(r"^ {4}(.*)$", re.MULTILINE)
FORMULA = re.compile(r"^\$\$$(.*?)^\$\$(?: \(([\w-]+)\))?$", re.MULTILINE | re.DOTALL)
TABLE_ROW = re.compile(r"^\|.*\|$", re.MULTILINE)
HTML_COMMENT = re.compile(r"<!--.*?-->")
HAN, WIDE = "[\u4e00-\u9fff]", "[\u3001-\u3011\uff01-\uff5e]"
NUMBER = r"\d+(?:[.,]\d+)*"

in_both_languages = pytest.mark.parametrize(("english", "chinese"), PAGES.items())


def read(page):
    return (ROOT / page).read_text(encoding="utf-8")


def included(page):
    """Return (file, options) of each literalinclude, without its caption."""
    for block in FENCED.findall(read(page)):
        if block.startswith("{literalinclude}"):
            path, *options = block.removeprefix("{literalinclude}").split("\n")
            file = os.path.normpath((ROOT / page).parent / path.strip())
            yield file, [option for option in options if not option.startswith(":caption:")]


def code(page):
    """Return each line of code, without comments: these may be translated. The glossary is in English only."""
    fenced = [block for block in FENCED.findall(read(page)) if not block.startswith(("{literalinclude}", "{raw}"))]
    indented = "\n".join(INDENTED.findall(FENCED.sub("", read(page))))
    return [
        re.sub(r" *(#| {9}).*", "", line)
        for block in [*fenced, indented]
        for line in block.splitlines()
        if line != "../glossary"
    ]


def prose(page):
    """Return the text that is left when code, formulas and tables are taken away."""
    text = read(page)
    for pattern in (FENCED, FORMULA, INDENTED, TABLE_ROW, HTML_COMMENT):
        text = pattern.sub("", text)
    return text


def sections(page):
    """Return (the heading's level, its paragraphs and list items) for each section of the prose."""
    for section in re.split(r"^(?=#)", prose(page), flags=re.MULTILINE)[1:]:
        heading, text = section.split("\n", 1)
        paragraphs = re.split(r"\n\s*\n|\n(?=- )", text.strip())
        yield heading.count("#"), [" ".join(paragraph.split()) for paragraph in paragraphs]


def links(page):
    """Return what a page links to: files from the root, whatever the page's folder or the heading, and addresses."""
    for target in re.findall(r"\]\(([^)]+)\)|<(http[^>]+)>", read(page)):
        address = "".join(target)
        file = address.partition("#")[0] or Path(page).name
        yield address if address.startswith("http") else os.path.normpath(Path(page).parent / file)


def test_each_english_page_has_a_chinese_one():
    assert DERIVATIONS
    there = [page.relative_to(ROOT).as_posix() for page in [*ROOT.glob("*.zh-CN.md"), *ROOT.glob("docs/zh/**/*.md")]]
    assert sorted(there) == sorted(CHINESE)


def test_the_english_glossary_has_each_term_that_is_translated():
    table = read("docs/zh/index.md").partition("| 中文 | English |\n")[2]
    words = " ".join(re.findall(r"[a-z-]+", read("docs/glossary.md").lower()))
    terms = [term for row in TABLE_ROW.findall(table)[1:] for term in row.strip("| ").split("| ")[1].split(", ")]
    assert len(terms) > 50
    assert [term for term in terms if term.lower() not in words] == []


@in_both_languages
def test_formulas_are_the_same(english, chinese):
    expected = [(latex, f"{label}-zh") for latex, label in FORMULA.findall(read(english))]
    assert FORMULA.findall(read(chinese)) == expected


@in_both_languages
def test_excerpts_are_the_same(english, chinese):
    assert list(included(chinese)) == list(included(english))


@in_both_languages
def test_code_is_the_same(english, chinese):
    assert code(chinese) == code(english)


@in_both_languages
def test_tables_have_the_same_numbers(english, chinese):
    expected, found = (
        [[re.findall(NUMBER, cell) for cell in row.split("|")] for row in TABLE_ROW.findall(read(page))]
        for page in (english, chinese)
    )
    assert found == expected


@in_both_languages
def test_links_are_the_same(english, chinese):
    translated = PAGES | {"README.zh-CN.md": "README.md"}
    expected = Counter(translated.get(target, target) for target in links(english))
    assert not expected - Counter(links(chinese))


@in_both_languages
def test_paragraphs_are_as_many(english, chinese):
    """A paragraph that is new in the English page is missing here."""
    expected, found = ([(level, len(texts)) for level, texts in sections(page)] for page in (english, chinese))
    assert found == expected


@in_both_languages
def test_paragraphs_have_the_same_numbers_formulas_and_names(english, chinese):
    for (_, originals), (_, translations) in zip(sections(english), sections(chinese), strict=True):
        for original, translation in zip(originals, translations, strict=True):
            expected, found = (
                Counter(re.findall(rf"\$[^$]+\$|`[^`]+`|{NUMBER}", text)) for text in (original, translation)
            )
            assert not expected - found, translation


@pytest.mark.parametrize("page", CHINESE)
def test_links_lead_to_files(page):
    for target in links(page):
        if not target.startswith(("http", "docs/gallery")):  # the gallery is made when the site is built
            assert (ROOT / target).exists(), target


@pytest.mark.parametrize("page", CHINESE)
@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param(rf"{HAN} ?[,.:;?!\"')]|[,:;?!\"'(] ?{HAN}|{HAN}\(|\){HAN}", id="half-width punctuation"),
        pytest.param(rf"{HAN}[A-Za-z0-9]|[A-Za-z0-9%]{HAN}", id="no space between Chinese and Latin"),
        pytest.param(rf"(?<!-) {WIDE}|{WIDE} ", id="a space at full-width punctuation"),
        pytest.param(rf"({HAN}|{WIDE})\n({HAN}|{WIDE})", id="a line that ends within a paragraph shows as a space"),
        pytest.param("\N{REPLACEMENT CHARACTER}", id="what was not UTF-8"),
    ],
)
def test_chinese_is_set_as_chinese(page, wrong):
    text = re.sub(r"`[^`]+`|\$[^$]+\$", "x", prose(page))
    text = re.sub(r"\]\([^)]+\)|!?[][]", "", text)
    found = re.search(f".*({wrong}).*", text)
    assert not found, found[0]

"""Draw the tables of docs/cheat-sheet.md as one picture: ``python docs/cheat_sheet.py`` writes docs/cheat_sheet.png.

The page is the only source, and the picture holds its digest, so a test notices a picture that is out of date.
"""

import hashlib
import re
import sys
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

PAGE = Path(__file__).with_name("cheat-sheet.md")
PICTURE = Path(__file__).with_name("cheat_sheet.png")
WIDTH, MARGIN, GAP = 7.36, 0.12, 0.16  # inches; a page of the site is 736 pixels wide
SIZE = 10.5  # points
LINE = 0.2  # inches from one line of words to the next
MATHTEXT = {r"\lvert": "|", r"\rvert": "|", r"\lVert": r"\Vert ", r"\rVert": r"\Vert ", r"\text": r"\mathrm"}
LOOK = {"mathtext.fontset": "stix", "font.family": "DejaVu Sans", "figure.dpi": 100}


def digest() -> str:
    """Return what changes if the page or this program changes."""
    return hashlib.sha256(PAGE.read_bytes() + Path(__file__).read_bytes()).hexdigest()


def sections() -> list[tuple[str, str, list[list[str]]]]:
    """Return (heading, words before the table, rows of cells) for each section with a table."""
    found = []
    for section in re.split(r"^## ", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]:
        heading, text = section.split("\n", 1)
        table = re.findall(r"^\| ?(.*?) ?\|$", text, re.MULTILINE)
        if table:
            rows = [[cell.strip() for cell in row.split("|")] for row in table if not row.startswith("---")]
            found.append((heading, " ".join(text.partition("\n|")[0].split()), rows))
    return found


def mathtext(text: str) -> str:
    """Return Markdown with LaTeX as Matplotlib's text, which knows less of LaTeX and sets factors too close."""
    between = r"(?<![a-z])([\w}]|\)) (?=[a-zA-Z(\[]|\\ln|\\min|\\left)"
    text = re.sub(r"\$[^$]*\$", lambda match: re.sub(between, r"\1 \\, ", match[0]), text)
    text = re.sub(r"\\[lr]vert|\\[lr]Vert|\\text", lambda match: MATHTEXT[match[0]], text)
    return text.replace(r"\frac", r"\dfrac").replace("`", "")


class Sheet:
    """A figure that is written from the top down, in inches."""

    def __init__(self, height: float) -> None:
        self.figure = Figure(figsize=(WIDTH, height))
        self.renderer = FigureCanvasAgg(self.figure).get_renderer()
        self.height, self.top = height, MARGIN

    def size(self, text: str, **style: Any) -> tuple[float, float]:
        """Return the width and the height of a text in inches."""
        drawn = self.figure.text(0, 0, text, **{"size": SIZE, **style})
        box = drawn.get_window_extent(self.renderer)
        drawn.remove()
        return box.width / self.figure.dpi, box.height / self.figure.dpi

    def wrapped(self, text: str, width: float) -> list[str]:
        """Return the lines of a text; no formula is broken."""
        lines = []
        for part in mathtext(text).split("<br>"):
            line = ""
            for word in re.findall(r"(?:\$[^$]*\$|[^\s$])+", part):
                longer = f"{line} {word}".strip()
                if line and self.size(longer)[0] > width:
                    lines.append(line)
                    longer = word
                line = longer
            lines.append(line)
        return lines

    def write(self, lines: list[str], left: float, top: float, **style: Any) -> float:
        """Write lines of words and formulas, and return how high they are."""
        y = top
        for line in lines:
            high = max(LINE, self.size(line)[1] + 0.05)
            at = (left / WIDTH, 1 - (y + high / 2) / self.height)
            self.figure.text(*at, line, **{"size": SIZE, "va": "center", **style})
            y += high
        return y - top

    def rule(self, colour: str) -> None:
        """Draw a line from margin to margin."""
        at = 1 - self.top / self.height
        line = Line2D([MARGIN / WIDTH, 1 - MARGIN / WIDTH], [at, at], color=colour, lw=0.8)
        self.figure.add_artist(line)

    def table(self, heading: str, words: str, rows: list[list[str]]) -> None:
        """Write a section."""
        self.top += GAP
        self.top += self.write([heading], MARGIN, self.top, weight="bold", size=12.5, color="#00557f")
        self.top += 0.03
        if words:
            self.top += self.write(self.wrapped(words, WIDTH - 2 * MARGIN), MARGIN, self.top)
        columns = list(zip(*rows, strict=True))
        lines_of = [[line for cell in column for line in self.wrapped(cell, WIDTH)] for column in columns]
        widest = [max(self.size(line)[0] for line in lines) for lines in lines_of]
        spare = WIDTH - 2 * MARGIN - GAP * (len(columns) - 1) - sum(widest)
        wordy = [k for k, column in enumerate(columns) if not any("=" in cell for cell in column)]
        share = [widest[k] if spare < 0 and k in wordy else 0 for k in range(len(columns))]
        widths = [w + (spare * s / sum(share) if s else 0) for w, s in zip(widest, share, strict=True)]
        for number, row in enumerate(rows):
            if not any(row):  # a table without heads
                continue
            head = {"color": "0.35", "style": "italic"} if number == 0 else {}
            cells = [self.wrapped(cell, width + 0.01) for cell, width in zip(row, widths, strict=True)]
            heights = [sum(max(LINE, self.size(line)[1] + 0.05) for line in lines) for lines in cells]
            self.rule("0.55" if number == 1 else "0.85")
            self.top += 0.03
            left = MARGIN
            for lines, high, width in zip(cells, heights, widths, strict=True):
                self.write(lines, left, self.top + (max(heights) - high) / 2, **head)
                left += width + GAP
            self.top += max(heights) + 0.03


@matplotlib.rc_context(LOOK)
def draw() -> Figure:
    """Return the figure, as high as its text."""
    height = 1.0
    while True:
        sheet = Sheet(height)
        title = ["numnet: every formula on one page"]
        sheet.top += sheet.write(title, MARGIN, sheet.top, weight="bold", size=15) + 0.05
        notation = PAGE.read_text(encoding="utf-8").split("\n\n")[2]
        sheet.top += sheet.write(sheet.wrapped(" ".join(notation.split()), WIDTH - 2 * MARGIN), MARGIN, sheet.top)
        for section in sections():
            sheet.table(*section)
        if abs(sheet.top + MARGIN - height) < 0.01:
            return sheet.figure
        height = sheet.top + MARGIN


if __name__ == "__main__":
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else PICTURE
    draw().savefig(path, dpi=150, metadata={"Title": "numnet's cheat sheet", "Keywords": digest()})

"""Pages as tests read them: tables, code blocks, links and headings of a Markdown file."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

CHECKOUT = Path(__file__).resolve().parents[2]
PAGES = tuple(sorted([CHECKOUT / "README.md", CHECKOUT / "CHANGELOG.md", *(CHECKOUT / "docs").rglob("*.md")]))

#: Column: cell.
Row: TypeAlias = Mapping[str, str]

_FENCE = re.compile(r"^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"`([^`]+)`")
_CELL_END = re.compile(r"(?<!\\)\|")
_LINK = re.compile(r"(?<!!)\[[^\]]*\]\((?P<target>[^)\s]+)\)")
_HEADING = re.compile(r"^#+ (?P<text>.+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Page:
    """One Markdown file."""

    path: Path
    text: str

    def section(self, heading: str) -> "Page":
        """What stands below a heading, up to the next one of its level or above."""
        found = re.search(rf"^(#+) {re.escape(heading)}\n(.*?)(?=^#{{1,2}} |\Z)", self.prose, re.MULTILINE | re.DOTALL)
        assert found is not None, f"{self.path.name} has no section {heading!r}"
        start, end = found.span(2)
        return Page(self.path, self.text[start:end])

    @property
    def prose(self) -> str:
        """The page with its code blocks blanked, so that offsets stay what they are."""
        return _FENCE.sub(lambda match: re.sub(r"[^\n]", " ", match[0]), self.text)

    def rows(self, *columns: str) -> list[Row]:
        """The rows of all tables that have these columns."""
        return [row for table in self._tables() for row in table if set(columns) <= row.keys()]

    def blocks(self, language: str) -> list[str]:
        return [match["text"] for match in _FENCE.finditer(self.text) if match["language"] == language]

    @property
    def words(self) -> set[str]:
        """Everything that stands between backticks."""
        return set(_CODE.findall(self.prose))

    @property
    def links(self) -> list[str]:
        return [match["target"] for match in _LINK.finditer(self.prose)]

    @property
    def anchors(self) -> set[str]:
        """The names by which a link reaches this page's headings."""
        return {_anchor(match["text"]) for match in _HEADING.finditer(self.prose)}

    def _tables(self) -> Iterator[list[Row]]:
        lines: list[list[str]] = []
        for line in [*self.prose.splitlines(), ""]:
            if line.startswith("|"):
                lines.append([cell.strip().replace(r"\|", "|") for cell in _CELL_END.split(line)[1:-1]])
            elif lines:
                heads, _, *rest = lines
                yield [dict(zip(heads, cells, strict=True)) for cells in rest]
                lines = []


def page(name: str) -> Page:
    """The page of this name, from the checkout's root."""
    path = CHECKOUT / name
    return Page(path, path.read_text("utf-8"))


def codes(cell: str) -> list[str]:
    """What stands between backticks in a cell."""
    return _CODE.findall(cell)


def only_code(cell: str) -> str:
    """The one thing between backticks in a cell."""
    (found,) = codes(cell)
    return found


def _anchor(heading: str) -> str:
    """As GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")

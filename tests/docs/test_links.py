"""Links lead somewhere, files that are named exist, and every decision can be found."""

import re

import pytest

from tests.docs.pages import CHECKOUT, PAGES, Page, page

_FILE = re.compile(r"(?:domain|adapters|config|entrypoints|tests|scripts|requirements|docs)/[\w./-]*")


@pytest.fixture(params=PAGES, ids=lambda path: str(path.relative_to(CHECKOUT)))
def each(request: pytest.FixtureRequest) -> Page:
    return page(str(request.param.relative_to(CHECKOUT)))


def test_every_link_leads_to_a_file_and_a_heading_that_exist(each: Page) -> None:
    broken = []

    for link in each.links:
        if re.match(r"https?://", link):
            continue
        name, _, anchor = link.partition("#")
        target = (each.path.parent / name).resolve() if name else each.path
        if not target.exists() or (anchor and anchor not in page(str(target.relative_to(CHECKOUT))).anchors):
            broken.append(link)

    assert broken == []


def test_every_file_that_is_named_exists(each: Page) -> None:
    named = {word for word in each.words if _FILE.fullmatch(word)}

    assert sorted(name for name in named if not (CHECKOUT / name).exists()) == []


def test_every_decision_is_in_the_index() -> None:
    index = page("docs/adr/README.md")
    decisions = {path.name: page(str(path.relative_to(CHECKOUT))) for path in CHECKOUT.glob("docs/adr/0*.md")}

    assert sorted(index.links) == sorted(decisions)
    for name, decision in decisions.items():
        assert decision.text.startswith(f"# {name[:4]} ")
        assert all(f"**{part}.**" in decision.text for part in ("Context", "Decision", "Consequences"))

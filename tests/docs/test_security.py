"""The table of threats names tests that are there."""

from tests.docs.pages import CHECKOUT, codes, page

THREATS = page("docs/security.md").section("Threats and their tests").rows("threat", "what happens", "test")


def test_every_threat_has_tests_that_exist() -> None:
    named = {row["threat"]: codes(row["test"]) for row in THREATS}

    assert len(named) > 20
    for threat, files in named.items():
        assert files, threat
        assert [name for name in files if "def test_" not in (CHECKOUT / name).read_text()] == []

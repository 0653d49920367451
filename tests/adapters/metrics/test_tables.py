"""Tables count exactly, and whatever callers make up, their size is bounded."""

from adapters.metrics.tables import MAX_ROWS, OTHER, Counts, Spread


def test_each_row_is_counted_by_itself() -> None:
    table = Counts("requests_total", "Requests", ("status",))

    for status in ("200", "404", "200"):
        table.add((status,))
    table.add(("404",), 5)

    assert table.rows == {("200",): 2, ("404",): 6}


def test_what_has_never_happened_is_a_zero_where_there_are_no_labels() -> None:
    assert Counts("defects_total", "Defects").rows == {(): 0}
    assert Counts("requests_total", "Requests", ("status",)).rows == {}


def test_a_value_on_a_bound_belongs_below_it() -> None:
    spread = Spread("seconds", "Seconds", (), (1.0, 2.0))

    for value in (0.5, 1.0, 1.5, 9.0):
        spread.observe((), value)

    assert spread.rows == {(): [2, 1, 1, 12.0]}


def test_a_copy_stays_as_it_was() -> None:
    counts, spread = Counts("requests_total", "Requests"), Spread("seconds", "Seconds", (), (1.0,))
    counts.add(())
    spread.observe((), 0.5)
    copies = counts.copy(), spread.copy()

    counts.add(())
    spread.observe((), 0.5)

    assert [copy.rows for copy in copies] == [{(): 1}, {(): [1, 0, 0.5]}]


def test_rows_beyond_the_bound_are_counted_in_one() -> None:
    counts = Counts("refusals_total", "Refusals", ("code", "tenant"))
    spread = Spread("seconds", "Seconds", ("code",), (1.0,))

    for number in range(MAX_ROWS + 10):
        counts.add((f"code-{number}", "acme"))
        spread.observe((f"code-{number}",), 0.5)
    counts.add(("code-0", "acme"))

    told = counts.rows
    assert len(told) == len(spread.rows) == MAX_ROWS + 1
    assert (told[OTHER, OTHER], told["code-0", "acme"]) == (10, 2)
    assert spread.rows[(OTHER,)] == [10, 0, 5.0]

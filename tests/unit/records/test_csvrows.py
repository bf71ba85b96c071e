import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.errors import ImportFileError
from node.records.csvrows import BrokenRow, Row, parse_rows

LAYOUTS = (frozenset({"a", "b"}), frozenset({"c", "d", "e"}))


def read(data: bytes) -> list[Row | BrokenRow]:
    return list(parse_rows(data.splitlines(keepends=True), LAYOUTS))


@pytest.mark.parametrize(
    "data",
    [b"a,b\n1,2\n", b"\xef\xbb\xbfa,b\r\n1,2\r\n", b"a,b\n\n1, 2 \n\n", b'"a","b"\n"1","2"', b"\na,b\n1,2"],
)
def test_rows_of_any_writer(data: bytes) -> None:
    [row] = read(data)
    assert isinstance(row, Row)
    assert row.values == {"a": "1", "b": "2"}


def test_more_columns_in_any_order_and_the_second_layout() -> None:
    [row] = read(b"d,x,c,e\n1,2,3,4\n")
    assert isinstance(row, Row)
    assert row.values == {"c": "3", "d": "1", "e": "4", "x": "2"}


def test_lines_inside_quotes_and_quotes_inside_quotes() -> None:
    first, second = read(b'a,b\n"one\r\ntwo, ""three""",2\n3,4\n')
    assert first == Row(2, {"a": 'one\ntwo, "three"', "b": "2"})
    assert second == Row(4, {"a": "3", "b": "4"})


@pytest.mark.parametrize(
    ("data", "text"),
    [(b"", "empty"), (b"\n\n", "empty"), (b"a,c\n", "named b"), (b"c,d\n", "named e"), (b"a\xff,b\n", "UTF-8")],
)
def test_a_file_of_another_kind_is_refused(data: bytes, text: str) -> None:
    with pytest.raises(ImportFileError, match=text):
        read(data)


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        (b"1", "has 1 columns instead of 2"),
        (b"1,2,3", "has 3 columns instead of 2"),
        (b"caf\xe9,2", "is not UTF-8"),
        (b'"x"y,2', "has misplaced quotation marks"),
        (b'x,"never closed', "has a quotation mark that is never closed"),
    ],
)
def test_a_broken_row_is_told_by_line_and_the_others_are_kept(broken: bytes, reason: str) -> None:
    rows = read(b"a,b\n1,2\n" + broken + b"\n3,4\n5,6\n")
    assert rows == [
        Row(2, {"a": "1", "b": "2"}),
        BrokenRow(3, reason),
        Row(4, {"a": "3", "b": "4"}),
        Row(5, {"a": "5", "b": "6"}),
    ]


def test_a_quote_that_is_never_closed_swallows_nothing_of_a_long_file() -> None:
    rows = read(b'a,b\n"open,2\n' + b"1,2\n" * 1000)
    assert rows[0] == BrokenRow(2, "has a quotation mark that is never closed")
    assert [row.line for row in rows[1:]] == list(range(3, 1003))
    assert all(isinstance(row, Row) for row in rows[1:])


def test_a_line_without_end_does_not_fill_the_memory() -> None:
    rows = read(b'a,b\n"' + b"x" * 70_000 + b"\n1,2\n")
    assert rows == [BrokenRow(2, "has a quotation mark that is never closed"), Row(3, {"a": "1", "b": "2"})]


@given(st.lists(st.tuples(st.text(max_size=8), st.text(max_size=8)), max_size=6), st.binary(max_size=40))
def test_rubbish_never_stops_the_reading(good: list[tuple[str, str]], rubbish: bytes) -> None:
    quoted = [",".join('"' + value.replace('"', '""') + '"' for value in pair).encode() for pair in good]
    rows = read(b"a,b\n" + b"\n".join([*quoted, rubbish]))
    kept = [row.values for row in rows[: len(good)] if isinstance(row, Row)]
    wanted = [(one, two) for one, two in good if not {*one, *two} & set("\r\n\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029\0")]
    assert [value for value in wanted if {"a": value[0].strip(), "b": value[1].strip()} not in kept] == []

"""CSV in its dialects, JSON, and lines: a line that is wrong costs only itself, and messages name it."""

import codecs
import csv
import gzip
import io
import json
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from beamscribe.pipelines.sources.columns import Columns
from beamscribe.pipelines.sources.text_tables import read_rows

EXAMPLES = int(os.environ.get("BEAMSCRIBE_EXAMPLES", "100"))
ANY = Columns()


def read(name, text, columns=ANY):
    data = text if isinstance(text, bytes) else text.encode()
    return [(row.uri, row.id, row.problem) for row in read_rows(io.BytesIO(data), name, columns)]


def uris(name, text, columns=ANY):
    assert all(not problem for _, _, problem in read(name, text, columns))
    return [uri for uri, _, _ in read(name, text, columns)]


LINES = "id,url,note\n1,ä.jpg,x\n2,b.jpg,y\n"


@pytest.mark.parametrize("mark", [b"", codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_dialects_of_csv(delimiter, mark):
    encoding = {codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}.get(mark, "utf-8")
    for end in ("\n", "\r\n", "\r"):
        text = LINES.replace(",", delimiter).replace("\n", end)
        assert read("l.csv", mark + text.encode(encoding)) == [("ä.jpg", "1", ""), ("b.jpg", "2", "")]


def test_excel_says_the_delimiter():
    assert uris("l.csv", "sep=;\npath;note\na.jpg;x, y\n") == ["a.jpg"]


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("l.tsv", "url\tnote\na,b;c.jpg\tx\n", ["a,b;c.jpg"]),
        ("l.csv", "url\na;b.jpg\n", ["a;b.jpg"]),
        ("l.csv", "file_name;text\na.jpg;a, b\n", ["a.jpg"]),
        ("l.csv", "path, note\na.jpg, x\n", ["a.jpg"]),
        ("l.csv", '"url","note"\n"a, b.jpg","say ""x"""\n', ["a, b.jpg"]),
        ("l.csv", 'url,note\na.jpg,5" disk\nb.jpg,6" disk\n', ["a.jpg", "b.jpg"]),
        ("l.csv", 'note,url\n"two\nlines",a.jpg\nx,b.jpg\n', ["a.jpg", "b.jpg"]),
        ("l.csv", "\n\nurl\n\na.jpg\n\n", ["a.jpg"]),
        ("l.csv", "URL\na.jpg\n", ["a.jpg"]),
        ("l.csv", "url,x\na.jpg,1,,\n", ["a.jpg"]),
        ("l.csv", "url\n", []),
        ("l.csv", "", []),
        ("l.json", '[{"url": "a.jpg"}, {"url": "b.jpg"}]', ["a.jpg", "b.jpg"]),
        ("l.json", '[\n "a.jpg",\n "b.jpg"\n]', ["a.jpg", "b.jpg"]),
        ("l.json", '{"url": "a.jpg"}\n{"url": "b.jpg"}\n', ["a.jpg", "b.jpg"]),
        ("l.json", '{\n"url": "a.jpg"\n}', ["a.jpg"]),
        ("l.json", "[]", []),
        ("l.json", "", []),
        ("l.jsonl", '{"image": {"bytes": null, "path": "a.jpg"}}\n{"image": ["b.jpg"]}', ["a.jpg", "b.jpg"]),
        ("l.jsonl", '{"x": 1, "url": "a.jpg"}\n{"uri": "b.jpg"}\n', ["a.jpg", "b.jpg"]),
        ("l.jsonl", '"a.jpg"\n', ["a.jpg"]),
        ("l.txt", "a.jpg\r\n b.jpg \r\r\n", ["a.jpg", "b.jpg"]),
        ("l.txt", "url,x\n", ["url,x"]),
    ],
)
def test_what_is_read(name, text, expected):
    assert uris(name, text) == expected


@pytest.mark.parametrize(
    ("name", "text", "number", "says"),
    [
        ("l.csv", "url,note\na.jpg,x\nb.jpg,red, green\nc.jpg,x\n", 1, "3 fields, the header 2"),
        ("l.csv", 'url,note\na.jpg,x\nb.jpg,"x\nc.jpg,x\n', 1, "not closed"),
        ("l.csv", 'url,note\na.jpg,x\n"b.jpg,x\n"c.jpg",x\n', 1, "not closed"),
        ("l.jsonl", '{"url": "a.jpg"}\n{"url": \n{"url": "c.jpg"}\n', 1, "no JSON"),
        ("l.jsonl", '{"url": "a.jpg"}\n[1]\n{"url": "c.jpg"}\n', 1, "no JSON object"),
        ("l.jsonl", '{"url": "a.jpg"}\n{"x": "b"}\n{"url": "c.jpg"}\n', 1, "--uri-column"),
        ("l.jsonl", '{"url": "a.jpg"}\n{"url": 7}\n{"url": "c.jpg"}\n', 1, "no text"),
        ("l.jsonl", '{"url": "a.jpg"}\n{"url": {"bytes": "x"}}\n{"url": "c.jpg"}\n', 1, "no text"),
        ("l.jsonl", '{"url": "a.jpg"}\n{"url": "b", "url": "c"}\n{"url": "c.jpg"}\n', 1, "more than once"),
        ("l.jsonl", '{"url": "a.jpg"}\n{"url": "b", "id": [7]}\n{"url": "c.jpg"}\n', 1, "id is neither"),
        ("l.jsonl", '{"url": "a.jpg"}\n{"url": "b", "id": 1.5}\n{"url": "c.jpg"}\n', 1, "its id"),
        ("l.jsonl", '{"url": "a.jpg"}\n' + "[" * 100_000 + '\n{"url": "c.jpg"}\n', 1, "nested too deeply"),
        ("l.jsonl", '{"url": "a.jpg"}\n{"url": ' + "1" * 5000 + '}\n{"url": "c.jpg"}\n', 1, "no JSON"),
        ("l.txt", "a.jpg\n" + "x" * 40_000 + "\nc.jpg\n", 1, "40000 letters"),
    ],
)
def test_a_wrong_line_costs_only_itself(name, text, number, says):
    rows = list(read_rows(io.BytesIO(text.encode()), name, ANY))
    assert [row.uri for row in rows] == ["a.jpg", "", "c.jpg"]
    assert says in rows[number].problem
    assert len(rows[number].problem) < 300


@pytest.mark.parametrize(
    ("name", "text", "number"),
    [
        ("l.csv", 'note,url\n"two\nlines",a.jpg\nx,\n', 4),
        ("l.csv", "sep=;\nurl;note\na.jpg;x\n;x\n", 4),
        ("l.csv", "url,x\r\n\r\na.jpg,x\r\n,x\r\n", 4),
        ("l.jsonl", '\n{"url": "a.jpg"}\n\n{"url": null}\n', 4),
    ],
)
def test_lines_are_numbered_as_editors_do(name, text, number):
    rows = list(read_rows(io.BytesIO(text.encode()), name, ANY))
    assert [(row.uri, row.problem) for row in rows] == [("a.jpg", ""), ("", "")]
    assert rows[1].place == f"line {number}"


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("l.csv", "bild,note\na.jpg,red, green\n", "--uri-column names one of bild, note"),
        ("l.csv", "a,b\n1,2,3", "--uri-column names one of a, b"),
        ("l.csv", "url,url\na,b\n", "more than one column with the name url"),
        ("l.csv", "url,id,id\na,1,2\n", "more than one column with the name id"),
        ("l.csv", 'url,"note\na.jpg,x\n', "line 1: a quote"),
        ("l.csv", "url\na.jpg\nb\xe9.jpg\n".encode("latin-1"), "line 3 is not UTF-8.*iconv"),
        ("l.csv", "url\na.jpg\n".encode("utf-16-le"), "line 1 is no text"),
        ("l.csv", "url\na.jpg\n".encode("utf-32"), "UTF-32"),
        ("l.txt", b"a.jpg\n" + b"\0" * 100, "zero bytes"),
        (
            "l.txt",
            gzip.compress(b"a.jpg\n", mtime=0),
            "it is a gzip file and no text, as the name says: rename or unpack it",
        ),
        ("l.csv", b"PAR1" + bytes(99), "it is a Parquet file and no text"),
        ("l.txt", b"a" * 2**23, "line 1 is longer"),
        ("l.jsonl", '{"uri": \n{"uri": \n', "line 1: it is no JSON"),
        ("l.json", "[1,", "no JSON"),
        ("l.json", "[" * 100_000, "nested too deeply"),
        ("l.json", '{"images": [{"id": 1}], "annotations": []}', "--uri-column names one of images, annotations"),
        ("l.json", '{"url": {"0": "a.jpg"}}', "no text"),
    ],
)
def test_what_is_no_list_is_refused(name, text, says):
    with pytest.raises(ValueError, match=says) as caught:
        read(name, text)
    assert len(str(caught.value)) < 400
    assert "\n" not in str(caught.value)


def test_columns_that_are_asked_for():
    text = '{"a": "1.jpg", "k": 7}\n{"a": "2.jpg"}\n'
    assert read("l.jsonl", text, Columns("a", "k")) == [("1.jpg", "7", ""), ("2.jpg", "", "")]
    assert read("l.csv", "a;k;id\n1.jpg;7;8\n", Columns("a", "k")) == [("1.jpg", "7", "")]
    assert read("l.csv", "url;id\n1.jpg;7\n", Columns(id="")) == [("1.jpg", "", "")]
    for name, content in (("l.jsonl", text), ("l.csv", "a\n1.jpg\n")):
        with pytest.raises(ValueError, match="no column key"):
            read(name, content, Columns("a", "key"))


FIELDS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)
URIS = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Zs", "Zl", "Zp")), min_size=1, max_size=12)


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.lists(st.tuples(FIELDS, URIS, FIELDS), max_size=6), st.sampled_from(",;\t|"), st.sampled_from(["\n", "\r\n"]))
def test_what_csv_writes_is_read_back(rows, delimiter, end):
    file = io.StringIO(newline="")
    writer = csv.writer(file, delimiter=delimiter, lineterminator=end, quoting=csv.QUOTE_ALL)
    writer.writerow(["note", "url", "id"])
    writer.writerows(rows)
    expected = [(uri, id.strip(), "") for _, uri, id in rows]
    assert read("l.csv", file.getvalue()) == expected


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.lists(st.tuples(st.text(max_size=12), st.text(max_size=12)), max_size=6))
def test_what_json_writes_is_read_back(rows):
    objects = [{"url": uri, "id": id} for uri, id in rows]
    expected = [(uri, id, "") for uri, id in rows]
    assert read("l.jsonl", "".join(json.dumps(one) + "\n" for one in objects)) == expected
    assert read("l.json", json.dumps(objects, indent=1)) == expected


PIECES = [b"url,id\n", b'"', b"\n", b",", b"\r", b"{", b'{"url": "a"}', b"[", b"\xff\xfe"]


@pytest.mark.slow
@settings(max_examples=EXAMPLES, deadline=None)
@given(st.binary(max_size=200), st.sampled_from(["l.csv", "l.tsv", "l.json", "l.jsonl", "l.txt"]), st.data())
def test_any_bytes_are_rows_or_are_refused(data, name, more):
    pieces = more.draw(st.lists(st.sampled_from(PIECES)))
    try:
        rows = list(read_rows(io.BytesIO(b"".join(pieces) + data), name, ANY))
    except ValueError:
        return
    assert all(row.problem or row.place for row in rows)

"""The Korean README says what the English one says: sections, commands, tables, links and names are compared."""

import re
from typing import NamedTuple

import pytest

from tests.documents import CHECKOUT, commands

ENGLISH, KOREAN = "README.md", "README.ko.md"

CODE = re.compile(r"(?<!`)`([^`\n]+)`")
LINK = re.compile(r"\]\(([^)]+)\)")
NUMBER = re.compile(r"\d+(?:[.,]\d+)*")


class Section(NamedTuple):
    """A part of a document.

    Attributes:
        level: of its heading.
        text: without the heading.
    """

    level: int
    text: str

    @property
    def tables(self) -> list[list[list[str]]]:
        """Rows of cells of each table, without the line below the head."""
        found: list[list[list[str]]] = []
        before = ""
        for line in self.text.splitlines():
            if line.startswith("|"):
                if not before.startswith("|"):
                    found.append([])
                if not re.fullmatch(r"[|\s:-]+", line):
                    found[-1].append([cell.strip() for cell in line.strip("|").split("|")])
            before = line
        return found


def sections(document: str) -> list[Section]:
    """The parts of a document; what stands in its blocks of code is no heading."""
    found = [Section(0, "")]
    in_code = False
    for line in (CHECKOUT / document).read_text(encoding="utf-8").splitlines():
        in_code ^= line.startswith("```")
        heading = None if in_code else re.match(r"(#+) ", line)
        if heading:
            found.append(Section(len(heading[1]), ""))
        else:
            found[-1] = found[-1]._replace(text=f"{found[-1].text}{line}\n")
    return found


def links(text: str) -> list[str]:
    """Where the links of a text lead, but for those to the other language."""
    return sorted(target for target in LINK.findall(text) if target not in (ENGLISH, KOREAN))


def test_sections_and_commands_are_the_same() -> None:
    english, korean = sections(ENGLISH), sections(KOREAN)
    assert [one.level for one in english] == [one.level for one in korean]
    assert commands(ENGLISH) == commands(KOREAN)


@pytest.mark.parametrize("number", range(len(sections(ENGLISH))))
def test_a_section_names_the_same(number: int) -> None:
    english, korean = sections(ENGLISH)[number], sections(KOREAN)[number]
    assert links(english.text) == links(korean.text)
    assert sorted(set(CODE.findall(english.text))) == sorted(set(CODE.findall(korean.text)))
    assert [len(table) for table in english.tables] == [len(table) for table in korean.tables]
    for ours, theirs in zip(english.tables, korean.tables, strict=True):
        for row, other in zip(ours, theirs, strict=True):
            assert len(row) == len(other)
            for cell, same in zip(row, other, strict=True):
                assert sorted(CODE.findall(cell)) == sorted(CODE.findall(same))
                assert bool(cell) == bool(same)


@pytest.mark.parametrize("number", range(len(sections(ENGLISH))))
def test_measurements_have_the_same_numbers(number: int) -> None:
    ours, theirs = sections(ENGLISH)[number].tables, sections(KOREAN)[number].tables
    if any("measured" in table[0] for table in ours):
        for row, other in zip(ours[0], theirs[0], strict=True):
            assert sorted(NUMBER.findall(" ".join(row))) == sorted(NUMBER.findall(" ".join(other)))


STALE = {
    "캡션 모델": "캡셔너",
    "추가 기능": "추가 패키지",
    "패키지 저장소": "패키지 인덱스",
    "오브젝트 저장소": "오브젝트 스토리지",
    "검사가 아니라고": "검사 실패",
    "직접 곱하는": "하드웨어로 지원하는",
    "아직 시험하지 않았": "docs/running.md",
}
"""Words that were wrong or stood for several things → what is written instead."""


@pytest.mark.parametrize(("wrong", "right"), STALE.items())
def test_terms_are_those_of_the_field(wrong: str, right: str) -> None:
    text = (CHECKOUT / KOREAN).read_text(encoding="utf-8")
    assert wrong not in text
    assert right in text

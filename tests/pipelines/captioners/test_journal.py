import threading

import pytest

from beamscribe.pipelines.captioners.journal import FOLDER, Journal, read_account
from beamscribe.pipelines.captioners.paid_answer import PaidAnswer, Totals, decode, question_key
from beamscribe.storage.storage import Storage

RUN = "2026-01-02T03:04:05+00:00"


def answer(id: str, number: int = 0, tokens: int = 10) -> PaidAnswer:
    return PaidAnswer(id * 3, number, id, (f"{id}\u2028.",), ("stop",), (None,), None, 100, tokens, "m")


def pay(journal: Journal, *ids: str) -> None:
    for id in ids:
        journal.reserve()
        journal.asking(id * 3, 0, id)
        journal.answered(answer(id))


def test_an_answer_is_there_for_the_next_process_as_soon_as_it_is_noted(memory: Storage) -> None:
    first = Journal(memory, RUN)
    first.begin("s", ["a", "b"])
    pay(first, "a")
    first.reserve()
    first.asking("bbb", 0, "b")  # and then the process is killed
    second = Journal(memory, RUN)
    assert second.find("aaa", 0) == answer("a")
    assert second.find("bbb", 0) is None
    assert second.totals() == Totals(1, 100, 10, 1)
    pay(second, "b")
    assert read_account(memory).totals == Totals(2, 200, 20, 1)
    assert read_account(memory).totals.with_lost == Totals(2, 300, 30, 1)


def test_a_committed_shard_leaves_sums_alone(memory: Storage) -> None:
    first = Journal(memory, RUN)
    first.begin("s", ["a", "b"])
    first.begin("t", ["c"])
    pay(first, "a", "b", "c")
    first.similar(0.5)
    before = read_account(memory)
    first.committed("s", ["a", "b"])
    assert read_account(memory) == before
    again = Journal(memory, RUN)
    assert again.find("aaa", 0) is None
    assert again.find("ccc", 0) == answer("c")
    assert before.similarities == (0.5,)


def test_what_a_killed_process_left_is_summed_up_by_whoever_commits(memory: Storage) -> None:
    pay_for = Journal(memory, RUN)
    pay_for.begin("s", ["a", "b"])
    pay(pay_for, "a", "b")
    second = Journal(memory, RUN)
    second.begin("s", ["a", "b"])
    second.committed("s", ["a"])  # b is still to do, as under a smaller --limit
    assert Journal(memory, RUN).find("bbb", 0) == answer("b")
    second.committed("s", ["a", "b"])
    assert Journal(memory, RUN).find("bbb", 0) is None
    assert read_account(memory).totals == Totals(2, 200, 20, 0)


def test_a_part_of_a_shard_that_is_committed_keeps_the_other_answers(memory: Storage) -> None:
    journal = Journal(memory, RUN)
    journal.begin("s", ["a", "b"])
    pay(journal, "a", "b")
    journal.committed("s", ["a"])
    journal.begin("s", ["b", "c"])
    pay(journal, "c")
    assert Journal(memory, RUN).find("bbb", 0) == answer("b")
    assert read_account(memory).totals.answers == 3


def test_requests_that_were_refused_cost_nothing(memory: Storage) -> None:
    journal = Journal(memory, RUN)
    journal.begin("s", ["a"])
    journal.reserve()
    journal.asking("aaa", 0, "a")
    journal.unpaid("aaa", 0, "a")
    assert journal.totals() == Totals()
    pay(journal, "b")
    assert journal.totals() == Totals(1, 100, 10)
    journal.committed("s", ["a"])
    assert read_account(memory).totals == Totals(1, 100, 10)
    journal.lost("b")
    assert journal.totals().lost == 1


def test_threads_share_writings_and_lose_nothing(memory: Storage) -> None:
    journal = Journal(memory, RUN)
    ids = [f"{number:03d}" for number in range(160)]
    journal.begin("s", ids)
    threads = [threading.Thread(target=pay, args=(journal, *ids[start::16])) for start in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert read_account(memory).totals == Totals(160, 16_000, 1_600)
    again = Journal(memory, RUN)
    assert all(again.find(id * 3, 0) for id in ids)


def test_another_attempt_is_another_question() -> None:
    keys = {question_key(*fields) for fields in (("f", "s", "p", 0), ("f", "s", "p", 1), ("g", "s", "p", 0))}
    assert len(keys) == 3


@pytest.mark.parametrize("data", [b"{", b'{"answered": {}}', b'{"schema_version": 99}', b"[]", b"\xff"])
def test_a_damaged_file_is_named(data: bytes) -> None:
    with pytest.raises(ValueError, match="x.jsonl is damaged"):
        decode(data, "x.jsonl")


def test_files_of_the_journal_lie_in_one_folder(memory: Storage) -> None:
    journal = Journal(memory, RUN)
    journal.begin("00000-of-00001", ["a"])
    pay(journal, "a")
    [entry] = memory.files(FOLDER)
    assert entry.name.startswith(f"{FOLDER}/00000-of-00001.")

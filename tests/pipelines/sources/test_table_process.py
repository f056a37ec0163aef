"""What a damaged table does to the process that reads it does not reach this one."""

import json
import os
import signal
import subprocess
import sys
import time

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from beamscribe.pipelines.sources import table_child
from beamscribe.pipelines.sources.columns import Columns
from beamscribe.pipelines.sources.opened import UnreadableMemberError, Where
from beamscribe.pipelines.sources.table_process import MOST_DEATHS, TableError, TableProcess

ANY = Columns()
SERVE = "from beamscribe.pipelines.sources import table_server; import os, sys, time; "


@pytest.fixture
def process():
    with TableProcess() as found:
        yield found


@pytest.fixture
def table(tmp_path):
    pq.write_table(pa.table({"image": [b"first", b"second"]}), tmp_path / "t.parquet")
    return Where(str(tmp_path / "t.parquet"), "{}", False)


def test_a_death_costs_a_row_and_the_third_ends_the_attempts(process, table, monkeypatch):
    for _ in range(MOST_DEATHS):
        monkeypatch.setattr(table_child, "COMMAND", "import os; os.abort()")
        with pytest.raises(UnreadableMemberError, match="ended a process of its own .SIGABRT."):
            process.row(table, 0, 0, "image", 100)
    monkeypatch.undo()
    with pytest.raises(UnreadableMemberError, match="3 times"):
        process.row(table, 0, 0, "image", 100)
    assert TableProcess().row(table, 0, 1, "image", 100) == b"second"


@pytest.mark.slow
def test_another_table_goes_on_after_a_death(process, table, tmp_path, monkeypatch):
    (tmp_path / "bad.parquet").write_bytes(b"x")
    command = SERVE + (
        "open_table = table_server.opened_table.open_table; "
        "table_server.opened_table.open_table = lambda source, name, size: "
        "os.kill(os.getpid(), 11) if 'bad' in name else open_table(source, name, size); "
        "table_server.serve(int(sys.argv[1]), int(sys.argv[2]))"
    )
    monkeypatch.setattr(table_child, "COMMAND", command)
    with pytest.raises(TableError, match="SIGSEGV"):
        list(process.rows(Where(str(tmp_path / "bad.parquet"), "{}", False), ANY, 100))
    assert process.row(table, 0, 1, "image", 100) == b"second"


def test_what_hangs_is_ended(process, table, monkeypatch):
    monkeypatch.setattr(table_child, "COMMAND", "import time; time.sleep(60)")
    monkeypatch.setattr(table_child, "SECONDS", 0.3)
    with pytest.raises(UnreadableMemberError, match="took more than"):
        process.row(table, 0, 0, "image", 100)


@pytest.mark.slow
@pytest.mark.parametrize("suffix", ["parquet", "arrow"])
def test_pages_that_inflate_are_refused_within_a_bound_of_memory(process, tmp_path, monkeypatch, suffix):
    path = tmp_path / f"bomb.{suffix}"
    table = pa.table({"image": [b"small", bytes(100 * 2**20)]})
    if suffix == "parquet":
        pq.write_table(table, path, compression="zstd", use_dictionary=False)
    else:
        with pa.ipc.new_file(str(path), table.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as writer:
            writer.write_table(table)
    assert path.stat().st_size < 2**20
    serve = "table_server.serve(int(sys.argv[1]), int(sys.argv[2]))"
    monkeypatch.setattr(table_child, "COMMAND", f"{SERVE}table_server.MEMORY_BYTES = 2**26; {serve}")
    where = Where(str(path), "{}", False)
    begun = time.monotonic()
    with pytest.raises(UnreadableMemberError, match="more memory"):
        process.row(where, 0, 1, "image", 2**30)
    assert time.monotonic() - begun < 30
    with open(f"/proc/{process.pid}/status") as file:
        peak = next(int(line.split()[1]) for line in file if line.startswith("VmHWM:"))
    assert peak < 220 * 2**10
    monkeypatch.undo()
    assert len(TableProcess().row(where, 0, 1, "image", 2**30)) == 100 * 2**20


@pytest.mark.slow
def test_a_listing_that_is_given_up_leaves_nothing_behind(process, tmp_path):
    path = str(tmp_path / "t.parquet")
    pq.write_table(pa.table({"url": [f"{number}.jpg" for number in range(50_000)]}), path)
    where = Where(path, "{}", False)
    parts = process.rows(where, ANY, 100)
    next(parts)
    assert next(parts).names[0] == "0.jpg"
    parts.close()
    assert sum(part.rows for part in list(process.rows(where, ANY, 100))[1:]) == 50_000


def test_a_pipe_is_no_table(process, tmp_path):
    os.mkfifo(tmp_path / "t.parquet")
    with pytest.raises(OSError, match="no regular file"):
        process.row(Where(str(tmp_path / "t.parquet"), "{}", False), 0, 0, "image", 100)


@pytest.mark.slow
def test_the_process_ends_with_its_parent(table):
    program = (
        "import sys; from beamscribe.pipelines.sources.table_process import PROCESS; "
        "from beamscribe.pipelines.sources.opened import Where; "
        f"PROCESS.row(Where({table.uri!r}, '{{}}', False), 0, 0, 'image', 100); "
        "print(PROCESS.pid, flush=True); sys.stdin.read()"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path)},
    )
    child = int(parent.stdout.readline())
    parent.send_signal(signal.SIGKILL)
    parent.communicate()
    deadline = time.monotonic() + 10
    while alive(child) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not alive(child)


def alive(pid):
    """Whether there is such a process that has not ended."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(") ")[2][0] != "Z"
    except FileNotFoundError:
        return False


def test_options_reach_storage(process, memory):
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"image": [b"x" * 10**6, b"y"]}), sink)
    memory.write("t.parquet", sink.getvalue().to_pybytes())
    where = Where(memory.uri("t.parquet"), json.dumps({}), False)
    assert process.row(where, 0, 1, "image", 100) == b"y"
    assert process.row(where, 0, 0, "image", 10**6) == b"x" * 10**6


def test_a_signed_address_has_the_format_of_its_path(process, monkeypatch):
    sink = pa.BufferOutputStream()
    table = pa.table({"image": [b"x", b"y"]})
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    data = sink.getvalue().to_pybytes()
    monkeypatch.setattr(Where, "size", lambda _: len(data))
    monkeypatch.setattr(Where, "read", lambda _, position, size: data[position : position + size])
    where = Where("https://example.org/t.arrow?signature=a/b.parquet", "{}", False)
    assert process.row(where, 0, 1, "image", 100) == b"y"

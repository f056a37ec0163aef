"""TensorFlow is loaded without a line on standard error, and nothing of another kind is lost."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from beamscribe.native_logs import quiet_native_logs, without_log_lines

NOISE = [
    "WARNING: All log messages before absl::InitializeLog() is called are written to STDERR",
    "I0000 00:00:1795884061.254065   18337 cudart_stub.cc:31] Could not find cuda drivers on your machine.",
    "E0000 00:00:1795884110.153563   18337 cuda_platform.cc:52] failed call to cuInit: UNKNOWN ERROR (303)",
    "2026-01-02 03:04:05.678901: I tensorflow/core/util/port.cc:153] oneDNN custom operations are on.",
    "2026-01-02 03:04:05.678901: W external/local_xla/xla/tsl/framework/cpu_allocator_impl.cc:84] Allocation of 1",
    "To enable the following instructions: AVX2 FMA, in other operations, rebuild TensorFlow.",
]
REST = [
    "2026-01-02 03:04:05.678901: F tensorflow/core/platform/cpu_feature_guard.cc:112] Compiled to use AVX",
    "F0000 00:00:1795884110.153563   18337 some.cc:52] Check failed",
    "ImportError: libfoo.so.1: cannot open shared object file",
    "In the middle: E0000 00:00:1.1 7 a.cc:1] x",
    "",
]


@pytest.mark.parametrize("line", NOISE)
def test_leaves_out(line: str) -> None:
    assert without_log_lines(f"before\n{line}\nafter\n".encode()) == b"before\nafter\n"


@pytest.mark.parametrize("line", REST)
def test_keeps(line: str) -> None:
    assert without_log_lines(f"{line}\n".encode()) == f"{line}\n".encode()


def test_what_is_no_log_is_passed_on_also_when_the_body_fails(capfd: pytest.CaptureFixture[str]) -> None:
    def failing() -> None:
        with quiet_native_logs(), quiet_native_logs():
            os.write(2, b"I0000 00:00:1.1   7 a.cc:1] noise\nreal\n")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        failing()
    os.write(2, b"later\n")
    assert capfd.readouterr().err == "real\nlater\n"


def run(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    inherited = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}
    command = [sys.executable, "-c", textwrap.dedent(code)]
    return subprocess.run(command, env={**inherited, **environment}, capture_output=True, text=True, check=False)


def fake_tensorflow(folder: Path) -> str:
    """A package that logs as TensorFlow does when it is loaded, and again when it is asked for its devices."""
    package = folder / "tensorflow"
    package.mkdir()
    (package / "config.py").write_text(
        "import os\n\n\ndef list_physical_devices():\n    os.write(2, b'E0000 00:00:1.1   7 cuda.cc:52] cuInit\\n')\n"
    )
    (package / "__init__.py").write_text(
        "import os, sys\nfrom tensorflow import config\nos.write(2, b'I0000 00:00:1.1   7 a.cc:31] noise\\n')\n"
        "os.write(2, b'a real message\\n')\nprint('from Python', file=sys.stderr)\nif os.environ.get('BROKEN'):\n"
        "    raise ImportError('a library is missing')\n"
    )
    (package / "data.txt").write_text("data")
    return str(folder)


def test_a_package_is_loaded_quietly_and_stays_as_it_is(tmp_path: Path) -> None:
    path = os.pathsep.join([fake_tensorflow(tmp_path), *sys.path])
    code = """
        import beamscribe, importlib.resources, os, sys
        from beamscribe.native_logs import keep_stderr_apart
        keep_stderr_apart()
        import tensorflow
        tensorflow.config.list_physical_devices
        assert os.environ["TF_CPP_MIN_LOG_LEVEL"] == "2"
        assert "Quiet" not in type(tensorflow.__loader__).__name__ + type(tensorflow.__spec__.loader).__name__
        assert importlib.resources.files("tensorflow").joinpath("data.txt").read_text() == "data"
    """
    done = run(code, PYTHONPATH=path)
    assert (done.returncode, sorted(done.stderr.splitlines())) == (0, ["a real message", "from Python"])
    # Somebody who wants to see it sees it.
    assert "noise" in run("import beamscribe, tensorflow", PYTHONPATH=path, TF_CPP_MIN_LOG_LEVEL="0").stderr
    broken = run("import beamscribe, tensorflow", PYTHONPATH=path, BROKEN="1")
    assert broken.returncode == 1
    assert "ImportError: a library is missing" in broken.stderr
    assert "noise" not in broken.stderr


@pytest.mark.slow
@pytest.mark.nightly
def test_tensorflow_itself_is_quiet() -> None:
    code = "import beamscribe, tensorflow as tf, tensorflow_text; print(int(tf.constant(1) + 1))"
    done = run(code)
    assert (done.stdout, done.stderr) == ("2\n", "")

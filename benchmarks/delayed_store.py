"""`python -m benchmarks.delayed_store FOLDER DELAY_MSEC FAILING_PERCENT`: a folder as a bucket of S3 that answers late.

Only what reading needs of S3's protocol: objects and parts of them, their size, and listings. It prints its port, and
answers `/-/counts` with what it was asked for. It costs a tenth of what a full emulator does, so that a benchmark on
few cores measures the reader and not the store.
"""

import asyncio
import hashlib
import json
import random
import sys
import urllib.parse
from pathlib import Path
from typing import NamedTuple
from xml.sax.saxutils import escape

PAGE = 1000
"""Names in an answer to a listing, as S3 has it."""


class Answer(NamedTuple):
    """What is sent back.

    Attributes:
        status: with its reason.
        body: bytes.
        headers: beside the length.
        length: of the body if it is only told, not sent.
    """

    status: str
    body: bytes = b""
    headers: str = ""
    length: int | None = None


class Store:
    """The folder, and the counts of what was asked."""

    def __init__(self, folder: str, delay_msec: float, failing_percent: float) -> None:
        self._folder = Path(folder)
        self._names = sorted(str(path.relative_to(folder)) for path in self._folder.rglob("*") if path.is_file())
        self._delay, self._failing = delay_msec / 1000, failing_percent / 100
        self._random = random.Random(0)
        self.counts = {"GET": 0, "HEAD": 0, "LIST": 0, "503": 0, "bytes": 0, "at once": 0}
        self._now = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, request after request."""
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                self._now += 1
                self.counts["at once"] = max(self.counts["at once"], self._now)
                answer = await self._answer(head.decode("latin-1"))
                self._now -= 1
                length = len(answer.body) if answer.length is None else answer.length
                told = f"HTTP/1.1 {answer.status}\r\nContent-Length: {length}\r\n{answer.headers}\r\n"
                writer.write(told.encode() + answer.body)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _answer(self, head: str) -> Answer:
        first, *lines = head.split("\r\n")
        method, target, _ = first.split(" ")
        path, _, query = target.partition("?")
        if path == "/-/counts":
            return Answer("200 OK", json.dumps(self.counts).encode())
        await asyncio.sleep(self._delay)
        if self._random.random() < self._failing:
            self.counts["503"] += 1
            return Answer("503 Slow Down", b"<Error><Code>SlowDown</Code></Error>")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        _, _, name = urllib.parse.unquote(path.lstrip("/")).partition("/")
        if not name:
            self.counts["LIST"] += 1
            if method == "HEAD":
                return Answer("200 OK")
            return self._listing(dict(urllib.parse.parse_qsl(query)))
        self.counts[method] += 1
        return self._object(method, name, headers.get("range"))

    def _object(self, method: str, name: str, part: str | None) -> Answer:
        try:
            data = (self._folder / name).read_bytes()
        except OSError:
            return Answer("404 Not Found", b"" if method == "HEAD" else b"<Error><Code>NoSuchKey</Code></Error>")
        tag = f"ETag: {_tag(name, len(data))}\r\n"
        tag += "Last-Modified: Thu, 01 Jan 2026 00:00:00 GMT\r\nContent-Type: binary/octet-stream\r\n"
        if method == "HEAD":
            return Answer("200 OK", b"", tag, len(data))
        if part is None:
            self.counts["bytes"] += len(data)
            return Answer("200 OK", data, tag)
        start, _, last = part.removeprefix("bytes=").partition("-")
        found = data[int(start) : int(last) + 1 if last else None]
        if not found:
            return Answer("416 Requested Range Not Satisfiable", b"<Error><Code>InvalidRange</Code></Error>")
        self.counts["bytes"] += len(found)
        there = f"Content-Range: bytes {start}-{int(start) + len(found) - 1}/{len(data)}\r\n"
        return Answer("206 Partial Content", found, tag + there)

    def _listing(self, query: dict[str, str]) -> Answer:
        prefix, after = query.get("prefix", ""), query.get("continuation-token", "")
        names = [name for name in self._names if name.startswith(prefix) and name > after]
        folders: list[str] = []
        if delimiter := query.get("delimiter"):
            below = {prefix + name[len(prefix) :].partition(delimiter)[0] + delimiter for name in names}
            folders = sorted(below.difference(name + delimiter for name in names))
            names = [name for name in names if delimiter not in name[len(prefix) :]]
        more, names = names[PAGE:], names[:PAGE]
        following = f"<NextContinuationToken>{escape(names[-1])}</NextContinuationToken>" if more else ""
        contents = "".join(
            f"<Contents><Key>{escape(name)}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified>"
            f"<ETag>{escape(_tag(name, size))}</ETag><Size>{size}</Size></Contents>"
            for name in names
            for size in [(self._folder / name).stat().st_size]
        )
        folders_told = "".join(f"<CommonPrefixes><Prefix>{escape(name)}</Prefix></CommonPrefixes>" for name in folders)
        body = (
            '<?xml version="1.0" encoding="UTF-8"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
            f"<IsTruncated>{str(bool(more)).lower()}</IsTruncated><KeyCount>{len(names)}</KeyCount>"
            f"{following}{contents}{folders_told}</ListBucketResult>"
        )
        return Answer("200 OK", body.encode(), "Content-Type: application/xml\r\n")


def _tag(name: str, size: int) -> str:
    return f'"{hashlib.blake2b(name.encode(), digest_size=8).hexdigest()}-{size}"'


async def main() -> None:
    store = Store(sys.argv[1], float(sys.argv[2]), float(sys.argv[3]))
    server = await asyncio.start_server(store.serve, "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())

"""What decoding takes of memory is known before it begins, and bounded for all threads together."""

import io
import multiprocessing
import os
import random
import resource
import struct
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from beamscribe.model.decode_memory import BUDGET_BYTES, MOST_BYTES_A_PIXEL, MemoryBudget, decoding_bytes
from beamscribe.model.image_formats import find_opener
from beamscribe.model.images import ImageError, decode_image
from beamscribe.schemas.limits import MAX_PIXELS
from tests.memory import peak_bytes

FUZZ_SECONDS = float(os.environ.get("BEAMSCRIBE_FUZZ_SECONDS", "10"))
SIDE = 2000


def encode(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def big_files() -> dict[str, bytes]:
    rgb = Image.fromarray(np.random.default_rng(0).integers(0, 256, (50, 50, 3), dtype=np.uint8)).resize(
        (SIDE, SIDE), Image.Resampling.NEAREST
    )
    grey, alpha = rgb.getchannel(0), rgb.convert("RGBA")
    alpha.putalpha(grey)
    real = Image.fromarray(np.asarray(grey, np.float32) / 255)
    return {
        "progressive": encode(rgb, "JPEG", progressive=True, subsampling=0),
        "cmyk": encode(rgb.convert("CMYK"), "JPEG", progressive=True),
        "alpha": encode(alpha, "PNG", compress_level=1),
        "palette": encode(grey.convert("P"), "PNG", transparency=3),
        "deep": encode(Image.fromarray(np.asarray(grey, np.uint16) * 257), "PNG", compress_level=1),
        "float": encode(real, "TIFF"),
        "compressed float": encode(real, "TIFF", compression="tiff_adobe_deflate"),
        "integers": encode(Image.fromarray(np.asarray(grey, np.int32) * 9), "TIFF"),
        "webp": encode(alpha, "WEBP", lossless=True, method=0),
        "gif": encode(grey.convert("P"), "GIF"),
    }


def measure(files: dict[str, bytes], results: Any) -> None:
    """In a process of its own: what decoding each file adds to the peak, and what was foretold."""
    small = Image.new("RGBA", (300, 300), (1, 2, 3, 4))
    for kind in ("PNG", "WEBP", "TIFF"):
        decode_image(encode(small, kind), (9, 9))
    decode_image(encode(small.convert("RGB"), "JPEG"), (9, 9))
    for name, data in files.items():
        Path("/proc/self/clear_refs").write_text("5")
        before = peak_bytes()
        decode_image(data, (299, 299))
        opened = find_opener(data)(io.BytesIO(data))
        results.put((name, peak_bytes() - before, decoding_bytes(opened)))


def in_a_process(target: Callable[..., None], *arguments: Any, wanted: int, seconds: float) -> list[Any]:
    """What a fresh process puts into a queue."""
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    process = context.Process(target=target, args=(*arguments, results), daemon=True)
    process.start()
    found = [results.get(timeout=seconds) for _ in range(wanted)]
    process.join(10)
    assert process.exitcode == 0
    return found


@pytest.mark.nightly
@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="reads the peak from Linux's /proc")
def test_decoding_takes_what_was_foretold() -> None:
    files = big_files()
    for name, taken, foretold in in_a_process(measure, files, wanted=len(files), seconds=60):
        assert taken < foretold + 4e6, name  # the rows that are converted at a time, and libraries' scratch
        assert foretold <= SIDE * SIDE * 20, name


def tiff(width: int, height: int, *tags: tuple[int, int, int]) -> bytes:
    """A compressed TIFF of one byte of data; tags are tag, type and value."""
    fixed = [(256, 4, width), (257, 4, height), (258, 3, 8), (259, 3, 5), (262, 3, 1), (277, 3, 1)]
    given = sorted({tag[0]: tag for tag in [*fixed, *tags]}.values())
    entries = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in given)
    return b"II*\0" + struct.pack("<IH", 8, len(given)) + entries + bytes(4)


def test_a_tile_larger_than_memory_is_refused() -> None:
    with pytest.raises(ImageError, match="TooManyPixels"):
        decode_image(tiff(100, 100, (322, 4, 60_000), (323, 4, 60_000), (324, 4, 8), (325, 4, 8)), (9, 9))


def test_costly_formats_are_refused_at_fewer_pixels() -> None:
    image = Image.new("RGB", (2_000, 2_000))
    plain, costly = encode(image, "JPEG"), encode(image, "JPEG2000")
    assert decode_image(plain, (9, 9), max_pixels=4_000_000).width == 2_000
    with pytest.raises(ImageError, match="JPEG2000 of .* needs 100 MB to decode, at most 52; raise --max-pixels"):
        decode_image(costly, (9, 9), max_pixels=4_000_000)
    assert decode_image(costly, (9, 9), max_pixels=8_000_000).width == 2_000


def test_the_longest_side_is_decoded() -> None:
    assert decode_image(encode(Image.new("L", (65_535, 1)), "PNG"), (9, 9)).width == 65_535
    assert decode_image(encode(Image.new("RGBA", (1, 65_535)), "PNG"), (9, 9)).height == 65_535


def test_threads_share_one_budget() -> None:
    budget, most, now, lock = MemoryBudget(100), [0], [0], threading.Lock()

    def work(wanted: int) -> None:
        for _ in range(20):
            with budget.taking(wanted):
                with lock:
                    now[0] += wanted
                    most[0] = max(most[0], now[0])
                time.sleep(0.0005)
                with lock:
                    now[0] -= wanted

    threads = [threading.Thread(target=work, args=(wanted,)) for wanted in (30, 40, 60, 90, 100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()
    assert 60 <= most[0] <= 100


def test_one_that_needs_more_than_the_budget_goes_alone() -> None:
    budget = MemoryBudget(10)
    with budget.taking(5), pytest.raises(ZeroDivisionError), budget.taking(5):
        raise ZeroDivisionError
    with budget.taking(1000):
        pass
    assert MAX_PIXELS * MOST_BYTES_A_PIXEL <= BUDGET_BYTES


def seeds() -> list[bytes]:
    noise = Image.fromarray(np.random.default_rng(7).integers(0, 256, (40, 50, 3), dtype=np.uint8))
    exif = Image.Exif()
    exif[274], exif[271] = 6, "maker"
    files = [encode(noise, kind, exif=exif, icc_profile=b"profile") for kind in ("JPEG", "PNG", "WEBP", "TIFF", "AVIF")]
    files += [encode(noise, kind) for kind in ("GIF", "BMP", "JPEG2000", "PPM")]
    files += [encode(noise, "TIFF", compression=name) for name in ("tiff_lzw", "jpeg", "tiff_adobe_deflate")]
    files += [encode(noise, "JPEG", progressive=True), encode(noise.convert("CMYK"), "JPEG")]
    files += [encode(noise.quantize(16), "PNG", transparency=3), encode(noise.convert("I"), "TIFF")]
    files += [encode(noise.convert("F"), "TIFF"), encode(noise.convert("RGBA"), "WEBP", lossless=True)]
    files += [
        encode(noise, kind, save_all=True, append_images=[noise.rotate(90)]) for kind in ("GIF", "PNG", "WEBP", "TIFF")
    ]
    return files


def mutated(data: bytes, chance: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(chance.randint(1, 8)):
        # Headers are where the lies are.
        place = chance.randrange(min(len(changed), chance.choice((40, 200, 100_000))))
        kind = chance.randrange(5)
        if kind == 0:
            changed[place] = chance.randrange(256)
        elif kind == 1:
            changed[place : place + 4] = chance.choice((b"\xff" * 4, bytes(4), b"\x7f\xff\xff\xff", b"\0\0\xff\xff"))
        elif kind == 2:
            changed[place:place] = chance.randbytes(chance.randrange(1, 20))
        elif kind == 3:
            del changed[place : place + chance.randrange(1, 20)]
        else:
            other = chance.randrange(len(changed))
            changed[place : place + 12] = changed[other : other + 12]
        if len(changed) < 4:
            break
    return bytes(changed)


def fuzz(seconds: float, seed: int, results: Any) -> None:
    """In a process of its own, which may take so much of address space and no more."""
    limit = 6 << 30  # threads' stacks and arenas of libraries are address space too; unbounded decoding passes it
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    chance, files, outcomes, slowest = random.Random(seed), seeds(), {}, 0.0
    end = time.monotonic() + seconds
    import warnings

    warnings.simplefilter("ignore")
    while time.monotonic() < end or sum(outcomes.values()) < 300:
        data = mutated(chance.choice(files), chance)
        begun = time.process_time()
        try:
            decode_image(data, (8, 8), max_pixels=4_000_000, accept_truncated=chance.random() < 0.3)
            outcome = "decoded"
        except ImageError as error:
            outcome = error.error_type
        except BaseException as error:  # noqa: BLE001 (it is what is looked for)
            outcome = f"leaked {type(error).__name__}: {error} of {data.hex()}"
        outcomes[outcome] = outcomes.get(outcome, 0) + 1
        slowest = max(slowest, time.process_time() - begun)
    results.put((outcomes, slowest, peak_bytes() / 2**20))


@pytest.mark.slow
def test_mutated_files_raise_only_image_errors_in_bounded_memory() -> None:
    arguments = (FUZZ_SECONDS, int(FUZZ_SECONDS))
    [(outcomes, slowest, peak_mib)] = in_a_process(fuzz, *arguments, wanted=1, seconds=FUZZ_SECONDS + 120)
    print(sum(outcomes.values()), outcomes, f"slowest {slowest:.2f} s, peak {peak_mib:.0f} MiB")
    known = {"decoded", "NotAnImage", "Truncated", "TooManyPixels", "UnsupportedImage", "DecodeFailed"}
    assert outcomes.keys() <= known
    assert outcomes["decoded"]
    assert outcomes["DecodeFailed"]
    assert slowest < 5
    assert peak_mib < 600  # the interpreter with its libraries, and four megapixels at 13 bytes each

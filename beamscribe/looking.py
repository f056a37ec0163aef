"""`report` and `explain` from Python and notebooks."""

from typing import Any

from beamscribe.model.bundle import open_bundle
from beamscribe.model.pretrained import default_bundle
from beamscribe.pictures import Picture, file_of
from beamscribe.pipelines.explain import explain as explain_file
from beamscribe.pipelines.images.attention_picture import Explained
from beamscribe.pipelines.outputs.report.make import PageSettings, WrittenPage, write_page


def report(captions: str, output: str, **settings: Any) -> WrittenPage:
    """Writes the page of captions and their photographs, as `beamscribe report` does.

    Args:
        captions: path or URI of an output of `beamscribe caption`.
        output: file or URI of the page.
        settings: further fields of `beamscribe.pipelines.outputs.report.make.PageSettings`, such as `speech`, `gallery`
            or `images_root`.

    Returns:
        What was written: its `uri`, how many `photographs` of how many `captions` it shows, and its `size` in bytes.

    Raises:
        RefusedError: if there is nothing to report on, or the page cannot be written.
        TypeError: if there is no such setting.
    """
    return write_page(PageSettings(captions, output, **settings))


def explain(
    image: Picture, bundle: str | None = None, caption: str | None = None, cell: tuple[int, int] | None = None
) -> Explained:
    """Where a captioner looks when it writes each word, and what it could have written instead.

    A notebook shows the result as the picture of `beamscribe explain`, which needs matplotlib (extra `explain`).

    Args:
        image: of any kind of `Picture`.
        bundle: path or URI of a folder that `beamscribe train` wrote; by default `$BEAMSCRIBE_MODEL`, else the one that
            comes with a checkout.
        caption: to be explained; by default the bundle's own, by beam search.
        cell: (row, column) of the encoder's grid whose self-attention is drawn; by default the one in the middle.

    Returns:
        The `caption`; `words` with a map each, float32 (rows, columns) that sums to 1; `choices` with the `probability`
        and the `alternatives` of each word; and `picture()`, a PNG file.

    Raises:
        ImageError: if the image does not decode.
        OSError: if it cannot be read.
        RefusedError: if there is no such cell.
        BundleError, NoBundleError, WeightsError: if the bundle cannot be had.
    """
    return explain_file(open_bundle(bundle or default_bundle()), file_of(image), caption, cell)

import hashlib

import pytest

from beamscribe.pipelines.caption import CaptionJob
from beamscribe.pipelines.captioners.bundle import BundleSource
from beamscribe.pipelines.commits.commit import commit_shard
from beamscribe.pipelines.images.reading import Reading
from tests.pipelines.fake_job import caption, run_of, shard


@pytest.mark.parametrize(("images", "warns"), [(250, True), (199, True), (5, True), (4, False), (1, False)])
def test_one_caption_of_many_different_images_is_suspicious(memory, images, warns):
    def process(shard):
        for number, item in enumerate(shard.todo):
            image = (number + 125 * (shard.name == "b")) % images
            sha256 = hashlib.sha256(str(image).encode()).hexdigest()
            yield caption(item.reference, "oil", run)._replace(caption="A dog.", sha256=sha256)

    run = run_of(memory)
    receipts = [commit_shard(shard(name, *(f"{name}{n}" for n in range(125))), process, run) for name in "ab"]
    warnings = CaptionJob(BundleSource("", 1, 1, 1), Reading({})).warnings(memory, receipts)
    assert len(warnings) == warns

import random
import shutil
from collections.abc import Iterator

import pytest

from beamscribe.schemas.evaluation import METRICS
from beamscribe.training.scores import NoReferencesError, Scorer, caption_scores
from tests.training.made_captions import reference_scores

pytestmark = pytest.mark.slow

WORDS = ("a", "the", "dog", "cat", "man", "runs", "sits", "on", "in", "street", "red", "two", "near", "U.S.", "it's")


def sentence(source: random.Random) -> str:
    text = " ".join(source.choices(WORDS, k=source.randint(3, 12)))
    return f"{text.capitalize()}{source.choice(['', '.', ' .', '!'])}"


def made(images: int) -> tuple[dict[str, str], dict[str, list[str]]]:
    """Captions and references of made sentences, some of them empty, unusual or word for word the same."""
    source = random.Random(0)
    references = {str(id): [sentence(source) for _ in range(source.randint(1, 5))] for id in range(images)}
    captions = {id: sentence(source) for id in references}
    unusual = ["", ".", "   ", "A dog\nruns", "Café ’round | the || corner (3.5 km) & more…", "the the the the the", ""]
    captions.update(zip([*list(references)[: len(unusual) - 1], list(references)[-1]], unusual, strict=True))
    for id in list(references)[20:40:3]:
        captions[id] = references[id][0]
    captions["50"], references["50"], captions["51"], references["51"] = "", ["."], "A dog.", ["...", ""]
    return captions, references


@pytest.fixture(scope="module")
def scorer() -> Iterator[Scorer]:
    with Scorer(made(60)[1]) as scorer:
        yield scorer


@pytest.mark.slow
def test_scores_are_the_references_without_java_on_the_path(scorer: Scorer, monkeypatch: pytest.MonkeyPatch) -> None:
    captions, references = made(60)
    values, images = reference_scores(captions, references)
    monkeypatch.setenv("PATH", "")
    assert shutil.which("java") is None
    found = scorer.score(captions)
    assert found.ids == tuple(references)
    for metric in METRICS:
        assert found.values[metric] == pytest.approx(values[metric], abs=1e-9)
        assert found.images[metric] == pytest.approx(images[metric], abs=1e-9)
        assert found.values[metric] > 0.01


def test_scores_are_functions_of_sums(scorer: Scorer) -> None:
    """What the bootstrap rests on: with all images summed up they are the set's scores, with each alone its own."""
    found = scorer.score(made(60)[0])
    of_all = scorer.of_sums(found.sums.sum(axis=0, keepdims=True), 60)
    of_each = scorer.of_sums(found.sums, 1)
    for metric in METRICS:
        assert of_all[metric] == pytest.approx([found.values[metric]], abs=1e-12)
        assert of_each[metric] == pytest.approx(found.images[metric], abs=1e-12)


def test_an_image_without_a_caption_scores_as_an_empty_one(scorer: Scorer) -> None:
    captions, references = made(60)
    missing = {id: text for id, text in captions.items() if id not in ("7", "20")}
    empty, left_out = scorer.score(captions | {"7": "", "20": ""}), scorer.score(missing)
    assert left_out.values == empty.values
    assert left_out.captions == empty.captions
    assert left_out.images["cider"][7] == left_out.images["meteor"][20] == 0
    assert left_out.values["cider"] < scorer.score(captions).values["cider"]
    assert scorer.score(missing | {"unknown": "A dog."}).values == left_out.values


def test_the_order_of_the_captions_is_that_of_the_references(scorer: Scorer) -> None:
    captions, _ = made(60)
    assert scorer.score(dict(reversed(captions.items()))).values == scorer.score(captions).values


def test_nothing_but_empty_captions_scores_nothing(scorer: Scorer) -> None:
    found = scorer.score({})
    for metric in METRICS:
        # Two images have no word in their references; ROUGE-L finds nothing and nothing alike, as the reference does.
        odd = {"50": 1.0, "51": 1.0} if metric == "rouge_l" else {}
        assert found.images[metric] == pytest.approx([odd.get(id, 0) for id in found.ids], abs=1e-6)


@pytest.mark.parametrize(
    ("references", "message"),
    [
        ({}, "no references"),
        ({"1": ["A dog."], "2": []}, "image 2 has no"),
        ({"1": ["."]}, "no reference holds a word"),
    ],
)
def test_without_references_there_is_nothing_to_score(references: dict[str, list[str]], message: str) -> None:
    with pytest.raises(NoReferencesError, match=message):
        caption_scores({"1": "A dog."}, references)

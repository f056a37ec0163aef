"""An evaluation as text for people."""

from beamscribe.schemas.evaluation import UNICODE, EvaluatedCaptions, Evaluation

NAMES = {
    "bleu_1": "BLEU-1",
    "bleu_2": "BLEU-2",
    "bleu_3": "BLEU-3",
    "bleu_4": "BLEU-4",
    "meteor": "METEOR",
    "rouge_l": "ROUGE-L",
    "cider": "CIDEr",
}
"""What the literature calls the metrics."""

SHOWN_WORDS = 8


def score_table(evaluation: Evaluation) -> str:
    """Scores with their intervals, and how diverse the captions are.

    One line a metric; where two outputs are compared, the second one's score and the difference stand beside it.
    """
    against, differences = evaluation.against, evaluation.differences
    lines = [_coverage("captions", evaluation.captions)]
    header = f"{'':<9}{'score':>8}  {f'{evaluation.confidence:.0%} interval':<18}"
    if against:
        lines.append(_coverage("against", against))
        header += f"{'against':>8}  {'difference':>10}  {f'{evaluation.confidence:.0%} interval':<18}  better in"
    lines.append(header.rstrip())
    for metric, name in NAMES.items():
        score = evaluation.captions.scores[metric]
        line = f"{name:<9}{score.value:>8.4f}  {f'{score.low:.4f} to {score.high:.4f}':<18}"
        if against and differences:
            found = differences[metric]
            interval = f"{found.low:+.4f} to {found.high:+.4f}"
            line += (
                f"{against.scores[metric].value:>8.4f}  {found.value:>+10.4f}  {interval:<18}  {found.first_better:.1%}"
            )
        lines.append(line.rstrip())
    if evaluation.words == UNICODE:
        lines.append(
            "words: runs of letters, or single characters where a script writes no spaces; METEOR matches whole words "
            "alone, since its stems and synonyms are English"
        )
    lines += _diversity("captions", evaluation.captions)
    if against:
        lines += _diversity("against", against)
    return "\n".join(lines)


def _coverage(what: str, captions: EvaluatedCaptions) -> str:
    annotated = captions.images_with_caption + captions.images_without_caption
    text = f"{what}: {captions.images_with_caption:,} of {annotated:,} annotated images have one"
    if captions.images_without_caption:
        text += f", the other {captions.images_without_caption:,} score as an empty caption"
    if captions.captions_without_references:
        text += f"; ignored, for want of references: {captions.captions_without_references:,}"
    return text


def _diversity(what: str, captions: EvaluatedCaptions) -> list[str]:
    found = captions.diversity
    words = ", ".join(item.word for item in found.missing_words[:SHOWN_WORDS])
    return [
        f"{what}: {found.distinct_captions:,} distinct, {found.mean_words:.1f} words on average, "
        f"{found.most_frequent_share:.1%} are {found.most_frequent_caption!r}",
        f"{what}: {found.words_never_produced:,} of {found.reference_words:,} words of the references never produced"
        + (f": {words}{', …' if found.words_never_produced > SHOWN_WORDS else ''}" if words else ""),
    ]

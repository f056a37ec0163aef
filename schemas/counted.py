"""Numbers with what they count, as messages say them."""


def counted(number: int, noun: str, several: str | None = None) -> str:
    """`1 image`, `0 images`, `12,345 images`; for nouns that do not simply take an s, `several` is how they end.

    Args:
        number: how many there are.
        noun: what is counted, with or without words before it, of one.
        several: the same of none or many.
    """
    return f"{number:,} {noun if number == 1 else several or f'{noun}s'}"

"""Calls a model on batches of one size; survives an image that the model cannot take, and too little memory."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

from beamscribe.schemas.counted import counted

INFER = "infer"

NOT_FINITE = "the backbone's features of this image are not finite numbers: a value is beyond what float16 holds"
NO_CAPTION = f"the captioner gives no caption, as where {NOT_FINITE}"

SMALLEST_QUARTER = 4
"""Below that, a call costs as much as a larger one."""

Result = TypeVar("Result")


@dataclass
class Inference(Generic[Result]):
    """A model behind batches of two sizes, padded, so that few functions are compiled. Called in threads.

    Attributes:
        model: from (batch_size, …) to one result each.
        batch_size: halves when memory does not suffice, and stays so.
    """

    model: Callable[[np.ndarray], Iterable[Result]]
    batch_size: int

    def __call__(self, inputs: Sequence[np.ndarray]) -> Iterator[Result | Exception]:
        """Results of inputs of equal shape, in order; where the model cannot take one, the error instead.

        Raises:
            Exception: of the model, if it cannot take an empty picture either: then no image is at fault.
        """
        done = 0
        while done < len(inputs):
            size = self._size(len(inputs) - done)
            part = inputs[done : done + size]
            try:
                yield from self._run(part, size)
            except Exception as error:  # noqa: BLE001 - whatever a model raises.
                if _out_of_memory(error) and self.batch_size > 1:
                    # Not of the batch size: another thread may have halved it already.
                    self.batch_size = min(self.batch_size, max(1, size // 2))
                    print(
                        f"beamscribe: memory does not suffice; from here on {counted(self.batch_size, 'image')} a batch"
                    )
                    continue
                yield from self._bisect(part, error)
            done += len(part)

    def warm_up(self, shape: tuple[int, ...], dtype: type) -> None:
        """Calls the model on empty inputs of both sizes, so that what is compiled at the first call is compiled now.

        Raises:
            Exception: of the model, if it cannot take them.
        """
        empty: np.ndarray = np.zeros(shape, dtype)
        for count in (self.batch_size, 1):
            for result in self([empty] * count):
                if isinstance(result, Exception):
                    raise result

    def _size(self, left: int) -> int:
        """Images of the next call: a quarter of a batch where padding would cost as much again."""
        quarter = self.batch_size // 4
        return quarter if quarter >= SMALLEST_QUARTER and left <= 3 * quarter else self.batch_size

    def _run(self, part: Sequence[np.ndarray], size: int) -> list[Result]:
        padded = np.zeros((size, *part[0].shape), part[0].dtype)
        np.stack(part, out=padded[: len(part)])
        return list(self.model(padded))[: len(part)]

    def _bisect(self, part: Sequence[np.ndarray], error: Exception) -> Iterator[Result | Exception]:
        """Halves that fail are halved again until one image is left."""
        if len(part) == 1:
            self._run([np.zeros_like(part[0])], self.batch_size)
            yield error
            return
        for half in (part[: len(part) // 2], part[len(part) // 2 :]):
            try:
                yield from self._run(half, self.batch_size)
            except Exception as again:  # noqa: BLE001 - whatever a model raises; told in the image's failure row.
                yield from self._bisect(half, again)


def _out_of_memory(error: Exception) -> bool:
    import tensorflow as tf  # the model has loaded it

    return isinstance(error, MemoryError | tf.errors.ResourceExhaustedError)

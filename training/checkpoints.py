"""Checkpoints at the end of each epoch, exact resume, and early stopping that survives a kill."""

import json
import math
import os
import re
import zipfile
import zlib
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np

from beamscribe.model import weights
from beamscribe.storage import whole_files
from beamscribe.training.choice import Kept, choose, why_it_stops

STATE = "state.json"
_OURS = re.compile(r"(epoch|best)-\d{4,}\.npz|\.state\.json\.tmp")
"""Names of what is written here; version 0.1 wrote the last."""


class DivergedError(RuntimeError):
    """No epoch has weights worth keeping: the loss is no number."""


class Checkpoints(keras.callbacks.Callback):
    """Saves weights, optimizer, dropout seeds and its own state after each epoch.

    `state.json` is replaced last and names the files that belong to it, so a kill at any moment leaves a whole state.

    Args:
        folder: local.
        identity: what the run is made of; a folder with another identity begins anew.
        epochs: all of them; a finished run that is asked for more goes on.
        patience: epochs without a better one before training stops.
        frequency_loss: of the held-out captions, see `beamscribe.training.choice`.
        dump: gives the weights of the best epoch; as `.npz` of float16 without.
    """

    def __init__(
        self,
        folder: str,
        identity: str,
        epochs: int,
        patience: int,
        frequency_loss: float = math.inf,
        dump: Callable[[], bytes] | None = None,
    ) -> None:
        super().__init__()
        self.dump = dump or (lambda: weights.to_npz(self._trained))
        self.folder, self.identity = folder, identity
        self.epochs, self.patience, self.frequency_loss = epochs, patience, frequency_loss
        self.state: dict[str, Any] = {"identity": identity, "epoch": 0, "best_epoch": None, "history": []}

    @property
    def _trained(self) -> keras.Model:
        # Keras says which it is before it begins.
        assert self.model is not None
        return self.model

    def _path(self, name: str) -> str:
        return os.path.join(self.folder, name)

    def restore(self, model: keras.Model) -> int:
        """Continues where a killed run stopped.

        Args:
            model: built and compiled, its optimizer built.

        Returns:
            Epochs that are done.
        """
        try:
            with open(self._path(STATE), encoding="utf-8") as file:
                state = json.load(file)
            # Epochs beyond those that are asked for belong to another run.
            if state["identity"] != self.identity or state["epoch"] > self.epochs:
                return 0
            values = _read_values(self._path(_last(state["epoch"])), _variables(model))
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return 0
        for name, variable in _variables(model).items():
            variable.assign(values[name])
        self.state = state
        return state["epoch"]

    @property
    def kept(self) -> Kept:
        """The best epoch, and what chose it."""
        return choose(self.state["history"], self.frequency_loss)

    @property
    def why_it_stops(self) -> str | None:
        """Why no epoch follows; None while one does."""
        return why_it_stops(self.kept, self.state["epoch"], self.epochs, self.patience)

    @property
    def finished(self) -> bool:
        """Whether training has ended, by its epochs or by early stopping."""
        return self.why_it_stops is not None

    def best_weights(self) -> bytes:
        """What `dump` gave of the best epoch.

        Raises:
            DivergedError: if there is none.
        """
        if self.state["best_epoch"] is None:
            raise DivergedError("the loss is no number: try a lower learning rate")
        with open(self._path(_best(self.state["best_epoch"])), "rb") as file:
            return file.read()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Saves everything and decides whether to go on."""
        logs = {name: float(value) for name, value in (logs or {}).items()}
        history = [*self.state["history"], logs]
        best = choose(history, self.frequency_loss).epoch
        os.makedirs(self.folder, exist_ok=True)
        if best == epoch + 1:
            whole_files.replace(self._path(_best(epoch + 1)), self.dump())
        values = {name: variable.numpy() for name, variable in _variables(self._trained).items()}
        with whole_files.replacing(self._path(_last(epoch + 1))) as file:
            np.savez(file, **values)
        self.state = {"identity": self.identity, "epoch": epoch + 1, "best_epoch": best, "history": history}
        whole_files.replace(self._path(STATE), json.dumps(self.state).encode())
        self._remove_earlier({_last(epoch + 1), _best(best or 0)})
        self._trained.stop_training = self._trained.stop_training or self.finished

    def _remove_earlier(self, kept: set[str]) -> None:
        """Removes files of earlier epochs, which bear our exact names; whatever else people keep there stays."""
        for name in set(os.listdir(self.folder)) - kept:
            path = self._path(name)
            args = _OURS.fullmatch(name) or whole_files.TEMPORARY.fullmatch(name)
            if args and os.path.isfile(path) and not os.path.islink(path):
                os.unlink(path)


def _variables(model: keras.Model) -> dict[str, keras.Variable]:
    """Weights, dropout seeds and the optimizer's state, by their order; Keras's own weight files leave seeds out."""
    variables = [*model.variables, *model.optimizer.variables]
    return {f"{place:05d}": variable for place, variable in enumerate(variables)}


def _read_values(path: str, variables: Mapping[str, keras.Variable]) -> dict[str, np.ndarray]:
    """Arrays for all variables.

    Raises:
        ValueError: if the file is damaged or of another model.
        FileNotFoundError: if there is none.
    """
    try:
        with np.load(path, allow_pickle=False) as stored:
            values = {name: stored[name] for name in variables}
    except (EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"{path} is damaged: {error}") from error
    if any(values[name].shape != tuple(variable.shape) for name, variable in variables.items()):
        raise ValueError(f"{path} is of another model")
    return values


def _last(epoch: int) -> str:
    return f"epoch-{epoch:04d}.npz"


def _best(epoch: int) -> str:
    return f"best-{epoch:04d}.npz"

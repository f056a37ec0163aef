"""The captioners once more, in NumPy and float64, straight from the papers: one image and one caption at a time."""

import numpy as np

from beamscribe.model.captioner import BASIC, LSTM, LSTM_ATTENTION, CaptionerConfig

Array = np.ndarray


def logits(config: CaptionerConfig, arrays: dict[str, Array], features: Array, tokens: Array) -> Array:
    """Logits (length, vocabulary) of one caption without padding.

    Args:
        config: of the captioner.
        arrays: its weights by path.
        features: (cells, channels).
        tokens: int (length,).
    """
    maths = _Maths(config, arrays)
    features = features.astype(np.float64)
    if config.decoder in (LSTM, LSTM_ATTENTION):
        return maths.recurrent(features, tokens)
    args = config.decoder != BASIC
    return maths.words(maths.grid(features) if args else maths.basic(features), tokens, pre_norm=args)


class _Maths:
    def __init__(self, config: CaptionerConfig, arrays: dict[str, Array]) -> None:
        self.config, self.arrays = config, arrays

    def dense(self, x: Array, name: str) -> Array:
        return x @ self.arrays[f"{name}/kernel"] + self.arrays.get(f"{name}/bias", 0.0)

    def norm(self, x: Array, name: str) -> Array:
        x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-3)
        return x * self.arrays[f"{name}/gamma"] + self.arrays[f"{name}/beta"]

    def attention(self, x: Array, memory: Array, name: str, hidden: Array | float = 0.0) -> Array:
        heads = []
        queries, keys, values = (
            np.split(self.dense(source, f"{name}/{part}"), self.config.heads, axis=-1)
            for source, part in ((x, "query"), (memory, "key"), (memory, "value"))
        )
        for query, key, value in zip(queries, keys, values, strict=True):
            scores = np.exp(query @ key.T / np.sqrt(self.config.width / self.config.heads) + hidden)
            heads.append(scores / scores.sum(-1, keepdims=True) @ value)
        return self.dense(np.concatenate(heads, -1), f"{name}/output")

    def basic(self, image: Array) -> Array:
        for i in range(self.config.encoder_blocks):
            image = np.maximum(self.dense(self.norm(image, f"encoder/norm_in_{i}"), f"encoder/projection_{i}"), 0)
            image = self.norm(
                image + self.attention(image, image, f"encoder/self_attention_{i}"), f"encoder/norm_out_{i}"
            )
        return image

    def grid(self, image: Array) -> Array:
        image = (image - self.arrays["encoder/standardize/mean"]) / self.arrays["encoder/standardize/deviation"]
        rows, columns = self.config.grid[:2]
        places = [
            self.arrays["encoder/rows"][row, 0] + self.arrays["encoder/columns"][0, column]
            for row in range(rows)
            for column in range(columns)
        ]
        image = self.dense(image, "encoder/projection") + np.array(places)
        for i in range(self.config.encoder_blocks):
            normed = self.norm(image, f"encoder/norm_{2 * i}")
            image = image + self.attention(normed, normed, f"encoder/self_attention_{i}")
            inner = np.maximum(self.dense(self.norm(image, f"encoder/norm_{2 * i + 1}"), f"encoder/dense_in_{i}"), 0)
            image = image + self.dense(inner, f"encoder/dense_out_{i}")
        return self.norm(image, f"encoder/norm_{2 * self.config.encoder_blocks}")

    def words(self, image: Array, tokens: Array, pre_norm: bool) -> Array:
        table = self.arrays["decoder/embedding/tokens/embeddings"]
        positions = np.arange(len(tokens))
        words = table[tokens] * np.sqrt(self.config.width)
        words = words + self.arrays["decoder/embedding/positions/embeddings"][positions]
        hidden = np.where(positions[:, None] < positions, -np.inf, 0.0)
        for i in range(self.config.decoder_blocks):
            block = f"decoder/block_{i}"

            def before(x: Array, part: int, block: str = block) -> Array:
                return self.norm(x, f"{block}/norm_{part}") if pre_norm else x

            def after(x: Array, part: int, block: str = block) -> Array:
                return x if pre_norm else self.norm(x, f"{block}/norm_{part}")

            normed = before(words, 0)
            words = after(words + self.attention(normed, normed, f"{block}/self_attention", hidden), 0)
            words = after(words + self.attention(before(words, 1), image, f"{block}/cross_attention"), 1)
            inner = np.maximum(self.dense(before(words, 2), f"{block}/dense_in"), 0)
            words = after(words + self.dense(inner, f"{block}/dense_out"), 2)
        if pre_norm:
            return self.norm(words, "decoder/norm") @ table.T + self.arrays["decoder/bias"]
        return self.dense(words, "decoder/logits")

    def recurrent(self, features: Array, tokens: Array) -> Array:
        attends = self.config.decoder == LSTM_ATTENTION
        image = np.maximum(
            self.dense(features if attends else features.mean(0, keepdims=True), "encoder/projection"), 0
        )
        hidden, cell = np.split(np.tanh(self.dense(image.mean(0), "decoder/first")), 2)
        found = []
        for token in tokens:
            gates = self.dense(self.arrays["decoder/embedding/embeddings"][token], "decoder/from_word")
            gates = gates + self.dense(hidden, "decoder/from_state")
            if attends:
                mixed = np.tanh(
                    self.dense(hidden, "decoder/attention/query") + self.dense(image, "decoder/attention/key")
                )
                scores = np.exp(self.dense(mixed, "decoder/attention/score")[:, 0])
                gates = gates + self.dense(scores / scores.sum() @ image, "decoder/from_seen")
            into, forget, out, new = np.split(gates, 4)
            cell = cell / (1 + np.exp(-forget - 1)) + np.tanh(new) / (1 + np.exp(-into))
            hidden = np.tanh(cell) / (1 + np.exp(-out))
            found.append(self.dense(hidden, "decoder/logits"))
        return np.array(found)

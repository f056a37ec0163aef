"""Versions of what turns a model's numbers into words, raised by hand. TensorFlow is not loaded here.

They enter the fingerprint of every caption: an output that was begun with another version is not continued with this
one in silence. `tests/model/test_versions.py` pins the captions of a small model, so that a change is noticed.
"""

SEARCH_VERSION = "1"
"""The version of `model/decoding.py`; raise it with any change after which the same weights may choose other tokens."""

DETOKENIZER_VERSION = "1"
"""The version of `detokenize` and `sentence`; raise it with any change after which tokens may give other text."""

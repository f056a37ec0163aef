"""Captions and voices image corpora."""

"""Recipes: each file defines `CONFIG`, and its header says what it costs and gives. Use one with `--config FILE`."""

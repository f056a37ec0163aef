"""How a captioner learns from features, and what it becomes: a bundle."""

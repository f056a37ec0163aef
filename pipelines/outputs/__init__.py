"""Commands that read a finished output."""

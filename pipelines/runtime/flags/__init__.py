"""Flags of the commands. Nothing heavy is imported here, so that a wrong flag is refused within a second."""

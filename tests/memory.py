"""Memory that a process took, told from what the kernel says of it."""

from pathlib import Path


def peak_bytes(process: int | str = "self") -> int:
    """The most memory that a process has had; unlike `ru_maxrss` without that of the process that started it."""
    status = Path(f"/proc/{process}/status").read_text(encoding="ascii")
    return 1024 * next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:"))

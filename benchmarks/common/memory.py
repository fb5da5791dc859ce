"""How much memory this process takes, as Linux counts it."""

from pathlib import Path


def start_peak() -> None:
    """Forgets the peak so far."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def peak_memory() -> int:
    """Returns the most bytes that were resident since `start_peak`."""
    return _read("VmHWM")


def resident_memory() -> int:
    """Returns the bytes that are resident."""
    return _read("VmRSS")


def _read(name: str) -> int:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    (line,) = (line for line in lines if line.startswith(f"{name}:"))
    return int(line.split()[1]) * 1024

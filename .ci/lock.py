"""Prints constraints.txt: the installed release of every package that hf_lstm and its extras need."""

from importlib.metadata import distribution

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

EXTRAS = ("train", "demo", "bench", "fuzz", "dev")
HEADER = """\
# The releases hf_lstm is tested with, for `pip install -c constraints.txt`. Written by `make lock`, not by hand.
"""


def required_releases(root: str, extras: tuple[str, ...]) -> dict[str, str]:
    """
    Follows the requirements of an installed package.

    Args:
        root (`str`): The package to start from.
        extras (`tuple[str, ...]`): The extras of that package to follow as well.

    Returns:
        `dict[str, str]`: The release of each package reached, without its local part (`+cpu`), by name.
    """
    releases: dict[str, str] = {}
    seen: set[tuple[str, str]] = set()
    pending = [(root, extra) for extra in ("", *extras)]
    while pending:
        name, extra = pending.pop()
        if (name, extra) in seen:
            continue
        seen.add((name, extra))
        installed = distribution(name)
        releases[canonicalize_name(name)] = installed.version.partition("+")[0]
        for text in installed.requires or []:
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
                required = canonicalize_name(requirement.name)
                pending += [(required, wanted) for wanted in ("", *requirement.extras)]
    for name in (canonicalize_name(root), "pip"):  # what installs is not for the list to choose
        releases.pop(name, None)
    return releases


def main() -> None:
    """Prints the file."""
    releases = required_releases("hf-lstm", EXTRAS)
    print(HEADER + "\n".join(f"{name}=={release}" for name, release in sorted(releases.items())))


if __name__ == "__main__":
    main()

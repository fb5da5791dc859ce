"""
Looks up every release of constraints.txt in the database of known vulnerabilities, with pip-audit.

It fails if one is vulnerable. Where the database cannot be reached, it says so and passes: no change is at fault.
"""

import json
import subprocess
import sys
from typing import Any

COMMAND = (sys.executable, "-m", "pip_audit", "-r", "constraints.txt", "--no-deps", "--disable-pip", "-f", "json")
# What pip-audit and the HTTP client below it say where there is no network.
UNREACHABLE = ("could not connect", "connectionerror", "max retries", "failed to resolve", "timed out")
PASSED, FAILED = 0, 1


def judge(output: str, errors: str) -> tuple[int, list[str]]:
    """
    Judges what pip-audit printed.

    Args:
        output (`str`): Its standard output, JSON unless it failed.
        errors (`str`): Its standard error.

    Returns:
        `tuple[int, list[str]]`: The exit code, and what to say.
    """
    try:
        packages: list[dict[str, Any]] = json.loads(output)["dependencies"]
    except ValueError:
        if any(phrase in errors.lower() for phrase in UNREACHABLE):
            return PASSED, ["NOT AUDITED: the database of vulnerabilities cannot be reached.", errors.strip()[-500:]]
        return FAILED, ["The audit failed.", errors.strip()]
    found = [
        f"{package['name']} {package['version']} has {problem['id']}, mended in {problem['fix_versions'] or 'none'}"
        for package in packages
        for problem in package.get("vulns", ())
    ]
    skipped = [package["skip_reason"] for package in packages if "skip_reason" in package]
    messages = [*found]
    if skipped:
        # pip-audit itself reports success here, also if an index without the database has answered.
        messages.append(f"NOT AUDITED: {len(skipped)} of {len(packages)} packages, such as: {skipped[0]}.")
    messages.append(f"{len(packages) - len(skipped)} packages looked up, {len(found)} known vulnerabilities.")
    return (FAILED if found else PASSED), messages


def main() -> int:
    """Audits, and returns the exit code."""
    result = subprocess.run(COMMAND, capture_output=True, text=True)  # noqa: S603  # a fixed command
    code, messages = judge(result.stdout, result.stderr)
    print("\n".join(messages))
    return code


if __name__ == "__main__":
    sys.exit(main())

"""Fuzz one target, guided by coverage.

python -m tests.fuzz.run envelope --seconds 600

Starts from the inputs in tests/fuzz/corpora and those that earlier runs left in .fuzz. New inputs are added to .fuzz,
and failing inputs as `<target>-crash-…`, `-timeout-…` or `-oom-…`. If an input fails, the exit code is not 0.
"""

from __future__ import annotations

import argparse
import sys

import atheris

with atheris.instrument_imports(include=["maven_channel_wecom"]):
    from tests.fuzz.targets import CORPORA, FOUND, TARGETS

_MAX_INPUT_BYTES = 4096
# An input that takes longer is a finding.
_INPUT_TIMEOUT_SECONDS = 5


def main() -> None:
    """Fuzz a target until libFuzzer ends the process."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("--seconds", type=int, default=600)
    arguments = parser.parse_args()
    found = FOUND / arguments.target
    found.mkdir(parents=True, exist_ok=True)
    options = [
        f"-max_total_time={arguments.seconds}",
        f"-max_len={_MAX_INPUT_BYTES}",
        f"-timeout={_INPUT_TIMEOUT_SECONDS}",
        f"-artifact_prefix={found}-",
        "-print_final_stats=1",
        "-verbosity=0",
    ]
    atheris.Setup([sys.argv[0], *options, str(found), str(CORPORA / arguments.target)], TARGETS[arguments.target])
    atheris.Fuzz()


if __name__ == "__main__":
    main()

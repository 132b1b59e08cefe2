"""Fuzz one target, guided by what its inputs cover.

python -m tests.fuzz.run envelope --seconds 600

Starts from tests/fuzz/corpora and what earlier runs left under .fuzz, and adds to the latter: new inputs, and those
that failed, as `<target>-crash-…`, `-timeout-…` or `-oom-…`. The exit code is not 0 when there is one.
"""

from __future__ import annotations

import argparse
import sys

import atheris

with atheris.instrument_imports(include=["maven_channel_wecom"]):
    from tests.fuzz.targets import CORPORA, FOUND, TARGETS

_INPUT_BYTES = 4096
# An input that takes longer than this is a finding too.
_INPUT_SECONDS = 5


def main() -> None:
    """Fuzz; libFuzzer ends the process."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("--seconds", type=int, default=600)
    arguments = parser.parse_args()
    found = FOUND / arguments.target
    found.mkdir(parents=True, exist_ok=True)
    options = [
        f"-max_total_time={arguments.seconds}",
        f"-max_len={_INPUT_BYTES}",
        f"-timeout={_INPUT_SECONDS}",
        f"-artifact_prefix={found}-",
        "-print_final_stats=1",
        "-verbosity=0",
    ]
    atheris.Setup([sys.argv[0], *options, str(found), str(CORPORA / arguments.target)], TARGETS[arguments.target])
    atheris.Fuzz()


if __name__ == "__main__":
    main()

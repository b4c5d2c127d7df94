"""Run: one target under atheris in this process, which libFuzzer ends."""

import sys

import atheris

with atheris.instrument_imports(include=["protocol", "tests.fuzzing.targets"]):
    from tests.fuzzing.targets import TARGETS


def main() -> None:
    """Fuzz the target that the first argument names; libFuzzer takes the others."""
    atheris.Setup([sys.argv[0], *sys.argv[2:]], TARGETS[sys.argv[1]])
    atheris.Fuzz()


if __name__ == "__main__":
    main()

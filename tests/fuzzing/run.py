"""Run: one target under atheris in this process, which libFuzzer ends."""

import sys
from random import Random

import atheris

with atheris.instrument_imports(include=["protocol", "tests.fuzzing.targets"]):
    from tests.fuzzing.corpus import samples
    from tests.fuzzing.mutation import mutated
    from tests.fuzzing.targets import TARGETS


def main() -> None:
    """Fuzz the target that the first argument names; libFuzzer takes the others."""
    target = sys.argv[1]
    known = samples(target)

    def mutate(given: bytes, bytes_max: int, seed: int) -> bytes:
        return mutated(given, Random(seed), atheris.Mutate, known)[:bytes_max]

    options = [sys.argv[0], *sys.argv[2:]]
    atheris.Setup(options, TARGETS[target], custom_mutator=mutate)
    atheris.Fuzz()


if __name__ == "__main__":
    main()

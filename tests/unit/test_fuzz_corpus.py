"""Fuzz corpus: what the fuzzer has found to reach further is replayed by every run of the tests."""

import pytest

from tests.fuzzing.corpus import kept, samples
from tests.fuzzing.targets import TARGETS


@pytest.mark.parametrize("target", TARGETS)
def test_no_kept_input_fails(target: str) -> None:
    inputs = kept(target)
    assert len(inputs) > 10
    for each in [*inputs, *samples(target)]:
        TARGETS[target](each)

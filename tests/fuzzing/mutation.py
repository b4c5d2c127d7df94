"""Mutation: another input by changing whole frames, which changes of single bytes rarely do."""

from collections.abc import Callable
from random import Random

from tests.fuzzing.targets import frames_of, input_of

Frame = tuple[int, bytes]
Mutate = Callable[[bytes, int], bytes]  # libFuzzer's own mutation, to at most so many bytes

BODY_BYTES_MAX = 1024
FIRST_BYTES = 8  # the kinds of a subscription, and of the smallest messages
STEPS_MAX = 4


def mutated(given: bytes, chance: Random, mutate: Mutate, samples: list[bytes]) -> bytes:
    """Return an input with a few of its frames changed, repeated, dropped or added."""
    frames = list(frames_of(given))
    for _ in range(chance.randint(1, STEPS_MAX)):
        if not frames:
            frames.extend(frames_of(chance.choice(samples)))
        else:
            _step(frames, chance, mutate, samples)
    return input_of(frames)


def _step(frames: list[Frame], chance: Random, mutate: Mutate, samples: list[bytes]) -> None:
    place = chance.randrange(len(frames))
    selects, body = frames[place]
    match chance.randrange(6):
        case 0:
            frames.insert(chance.randint(0, len(frames)), frames[place])
        case 1:
            frames.pop(place)
        case 2:
            frames[place] = (selects, mutate(body, BODY_BYTES_MAX))
        case 3:
            frames[place] = (selects, bytes([chance.randrange(FIRST_BYTES)]) + body[1:])
        case 4:
            frames[place] = (chance.randrange(256), body)
        case _:
            frames.extend(frames_of(chance.choice(samples)))

"""Corpus: the inputs that are kept for each target, as lines of hexadecimal digits."""

from pathlib import Path

from protocol.messages.client import CLIENT_PROTOCOL_VERSION, Reply, Request
from protocol.messages.peer import PEER_PROTOCOL_VERSION, PeerFrame
from protocol.wire import encode
from tests.fuzzing.targets import CLUSTER, PEER, TARGETS, input_of
from tests.unit.test_wire import OPERATIONS, OUTCOMES, PEER_MESSAGES

CORPUS = Path(__file__).parent / "corpus"
TIMEOUT_MS = 1000


def kept(target: str) -> list[bytes]:
    """Return the inputs that earlier runs have found to reach further."""
    file = CORPUS / f"{target}.txt"
    return [bytes.fromhex(line) for line in file.read_text().split()] if file.exists() else []


def keep(target: str, inputs: list[bytes]) -> None:
    """Replace the kept inputs of a target."""
    lines = "\n".join(sorted((each.hex() for each in inputs), key=lambda each: (len(each), each)))
    (CORPUS / f"{target}.txt").write_text(f"{lines}\n")


def samples(target: str) -> list[bytes]:
    """Return an input for each kind of message that a target may receive."""
    requests = [Request(CLIENT_PROTOCOL_VERSION, 1, TIMEOUT_MS, (each,)) for each in OPERATIONS]
    peers = [
        PeerFrame(PEER_PROTOCOL_VERSION, CLUSTER, PEER, 1, "127.0.0.1:4", (each,))
        for each in PEER_MESSAGES
    ]
    replies = [Reply(1, (each,)) for each in OUTCOMES]
    frames: dict[str, list[tuple[int, bytes]]] = {
        "gateway": [(0, encode(each)) for each in requests],
        "peer": [(0, encode(each)) for each in peers],
        "decoders": [
            *((0, encode(each)) for each in requests),
            *((1, encode(each)) for each in replies),
            *((2, encode(each)) for each in peers),
        ],
        "publisher": [(0, b"\1" + bytes([topic]) + b"a") for topic in range(6)],
    }
    assert frames.keys() == TARGETS.keys()
    return [input_of([frame]) for frame in frames[target]]

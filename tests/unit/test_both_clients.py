"""Both clients: the same methods with the same parameters."""

import inspect

import pytest

from skiff import (
    AsyncClient,
    AsyncMirror,
    AsyncPipeline,
    AsyncSubscriber,
    Client,
    Mirror,
    Pipeline,
    Subscriber,
)

MAKES = {  # return types that differ by client
    "Subscriber": "AsyncSubscriber",
    "Pipeline": "AsyncPipeline",
    "Transaction": "AsyncTransaction",
    "Iterator": "AsyncIterator",
    "Namespace": "AsyncNamespace",
    "Lease": "AsyncLease",
    "Lock": "AsyncLock",
    "ReadWriteLock": "AsyncReadWriteLock",
    "Semaphore": "AsyncSemaphore",
    "Election": "AsyncElection",
    "Barrier": "AsyncBarrier",
    "DoubleBarrier": "AsyncDoubleBarrier",
    "Queue": "AsyncQueue",
    "Counter": "AsyncCounter",
    "Party": "AsyncParty",
    "Mirror": "AsyncMirror",
}


# They make an object and do no I/O.
PLAIN = {
    *("namespace", "pipeline", "scan", "transaction"),
    *("lock", "read_write_lock", "semaphore", "election", "barrier", "double_barrier"),
    *("queue", "counter", "party"),
}


def methods(client: type) -> dict[str, object]:
    return {
        name: each
        for name, each in inspect.getmembers(client)
        if inspect.isfunction(each) and not name.startswith("_")
    }


def signature(client: type, name: str) -> tuple[str, str]:
    """Return a method's parameters, and its return type in the asyncio client's terms."""
    found = inspect.signature(getattr(client, name))
    returned = getattr(found.return_annotation, "__name__", str(found.return_annotation))
    parameters = str(found.replace(return_annotation=None))
    for here, there in MAKES.items():
        parameters = parameters.replace(f".{there}", f".{here}")
    # A function that a coroutine calls is one, too.
    parameters = parameters.replace("collections.abc.Awaitable[~ReturnT]", "~ReturnT")
    return parameters, MAKES.get(returned, returned)


@pytest.mark.parametrize(
    ("blocking", "asynchronous", "only_blocking"),
    [
        (Client, AsyncClient, {"close"}),
        (Mirror, AsyncMirror, {"close"}),
        (Subscriber, AsyncSubscriber, {"abandon"}),
    ],
)
def test_methods_and_their_signatures_are_the_same(
    blocking: type, asynchronous: type, only_blocking: set[str]
) -> None:
    here, there = methods(blocking).keys(), methods(asynchronous).keys()
    assert here - there == only_blocking
    assert there - here <= {"aclose", "establish"}
    for name in here & there:
        assert signature(blocking, name) == signature(asynchronous, name), name


def test_pipelines_have_the_same_methods() -> None:
    assert methods(Pipeline).keys() == methods(AsyncPipeline).keys()


def test_every_asyncio_client_method_that_makes_no_object_is_a_coroutine() -> None:
    for name, method in methods(AsyncClient).items():
        assert inspect.iscoroutinefunction(method) != (name in PLAIN), name


@pytest.mark.parametrize(
    ("blocking", "asynchronous"),
    [(Client, AsyncClient), (Mirror, AsyncMirror), (Subscriber, AsyncSubscriber)],
)
def test_the_docstrings_of_both_list_the_same_errors(blocking: type, asynchronous: type) -> None:
    for name in methods(blocking).keys() & methods(asynchronous).keys() - {"close"}:
        described = inspect.getdoc(getattr(blocking, name)) or ""
        _, _, errors = described.partition("Raises:")
        assert errors in (inspect.getdoc(getattr(asynchronous, name)) or ""), name

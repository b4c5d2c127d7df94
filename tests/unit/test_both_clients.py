"""The blocking and the asyncio client have the same methods with the same parameters."""

import inspect

from skiff import AsyncClient, Client

ONLY_BLOCKING = {"close", "watch", "backup"}
ONLY_ASYNC = {"aclose"}


def methods(client: type) -> dict[str, object]:
    return {
        name: each
        for name, each in vars(client).items()
        if inspect.isfunction(each) and not name.startswith("_")
    }


def test_methods_and_their_signatures_are_the_same() -> None:
    blocking, asynchronous = methods(Client), methods(AsyncClient)
    assert blocking.keys() - asynchronous.keys() == ONLY_BLOCKING
    assert asynchronous.keys() - blocking.keys() == ONLY_ASYNC
    for name in blocking.keys() & asynchronous.keys():
        assert inspect.signature(Client.__dict__[name]) == inspect.signature(
            AsyncClient.__dict__[name]
        ), name


def test_every_method_of_the_asyncio_client_is_a_coroutine() -> None:
    for name, method in methods(AsyncClient).items():
        assert inspect.iscoroutinefunction(method), name

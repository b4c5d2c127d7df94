"""Both clients: the same methods with the same parameters."""

import inspect

import pytest

from skiff import (
    AsyncClient,
    AsyncPipeline,
    AsyncSubscriber,
    Client,
    Pipeline,
    Subscriber,
)

MAKES = {  # return types that differ by client
    "Subscriber": "AsyncSubscriber",
    "Pipeline": "AsyncPipeline",
}


def methods(client: type) -> dict[str, object]:
    return {
        name: each
        for name, each in vars(client).items()
        if inspect.isfunction(each) and not name.startswith("_")
    }


def signature(client: type, name: str) -> tuple[inspect.Signature, str]:
    """Return a method's parameters, and its return type in the asyncio client's terms."""
    found = inspect.signature(client.__dict__[name])
    returned = getattr(found.return_annotation, "__name__", str(found.return_annotation))
    return found.replace(return_annotation=None), MAKES.get(returned, returned)


@pytest.mark.parametrize(
    ("blocking", "asynchronous", "only_blocking"),
    [(Client, AsyncClient, {"close"}), (Subscriber, AsyncSubscriber, set())],
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


def test_every_asyncio_client_method_except_pipeline_is_a_coroutine() -> None:
    for name, method in methods(AsyncClient).items():
        assert inspect.iscoroutinefunction(method) != (name == "pipeline"), name


@pytest.mark.parametrize(
    ("blocking", "asynchronous"), [(Client, AsyncClient), (Subscriber, AsyncSubscriber)]
)
def test_the_docstrings_of_both_list_the_same_errors(blocking: type, asynchronous: type) -> None:
    for name in methods(blocking).keys() & methods(asynchronous).keys() - {"close"}:
        described = inspect.getdoc(getattr(blocking, name)) or ""
        _, _, errors = described.partition("Raises:")
        assert errors in (inspect.getdoc(getattr(asynchronous, name)) or ""), name

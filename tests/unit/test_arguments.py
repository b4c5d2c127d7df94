"""Arguments: invalid ones are refused before any request is sent."""

import math
from typing import Any

import pytest

from skiff import Client, InvalidRequest

NOWHERE = "127.0.0.1:1"


@pytest.mark.parametrize("timeout", [-1, -1.0, 0, math.nan, "5", [1]])
def test_a_timeout_is_a_positive_number(timeout: Any) -> None:
    with Client(NOWHERE) as client:
        with pytest.raises(InvalidRequest, match="timeout must be a positive number"):
            client.get("key", timeout=timeout)
        with pytest.raises(InvalidRequest, match="timeout must be a positive number"):
            client.watch(timeout=timeout)
    with pytest.raises(InvalidRequest, match="timeout must be a positive number"):
        Client(NOWHERE, timeout=timeout)


@pytest.mark.parametrize("limit", [-1, -10_000, 1.5, "1", True])
def test_a_limit_is_a_non_negative_integer(limit: Any) -> None:
    with (
        Client(NOWHERE) as client,
        pytest.raises(InvalidRequest, match="limit must be a whole number from 0 on"),
    ):
        client.list_keys(limit=limit)

"""Clients of etcd over gRPC: a blocking one with failover, and one for an event loop."""

import asyncio
import time
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import grpc
import grpc.aio

from scripts.benchmark import etcd_messages as messages
from scripts.benchmark.etcd_keep_alives import EtcdKeepAlives, keep_alive_stream
from scripts.benchmark.etcd_watches import EtcdWatch, EtcdWatches

CALL_MAX_S = 5.0  # for one put or get, over all attempts
STATUS_MAX_S = 1.0
# Before failover to the next node. A request that a follower forwarded to a dead leader is lost,
# so longer waits were measured to lengthen the pause, and shorter ones not to shorten it.
IMPATIENT_ATTEMPT_MAX_S = 0.1
RETRY_PAUSE_S = 0.01
PAGE_ENTRIES = 1_000  # as many as a page of skiff's scan has
# Reconnect to a restarted node at once, not after gRPC's default of minutes.
_CHANNEL_OPTIONS = [("grpc.max_reconnect_backoff_ms", 250), ("grpc.use_local_subchannel_pool", 1)]


GRANT = messages.LeaseGrantRequest(TTL=60)  # seconds, longer than a measurement
Puts: TypeAlias = Sequence[tuple[str, bytes]]


@dataclass(frozen=True)
class Status:
    """The status that a node reports."""

    member_id: int
    leader_id: int  # 0 if it knows none


def _call(
    channel: Any, method: str, request: Any, response: Any, package: str = messages.PACKAGE
) -> Any:
    return channel.unary_unary(
        f"/{package}.{method}",
        request_serializer=request.SerializeToString,
        response_deserializer=response.FromString,
    )


def _keep_alive(channel: Any) -> Any:
    """Return a function that sends one keep-alive over a stream of its own."""
    open_stream = keep_alive_stream(channel)
    return lambda request, timeout: next(open_stream(iter([request]), timeout=timeout))


class _Calls:
    """The calls of one channel, blocking or awaitable."""

    def __init__(self, channel: Any) -> None:
        self.channel = channel
        self.put = _call(channel, "KV/Put", messages.PutRequest, messages.PutResponse)
        self.txn = _call(channel, "KV/Txn", messages.TxnRequest, messages.TxnResponse)
        self.range = _call(channel, "KV/Range", messages.RangeRequest, messages.RangeResponse)
        status = messages.StatusRequest, messages.StatusResponse
        self.status = _call(channel, "Maintenance/Status", *status)
        grant = messages.LeaseGrantRequest, messages.LeaseGrantResponse
        self.grant = _call(channel, "Lease/LeaseGrant", *grant)
        self.keep_alive = _keep_alive(channel)
        lock = messages.LockRequest, messages.LockResponse, messages.LOCK_PACKAGE
        self.lock = _call(channel, "Lock/Lock", *lock)
        unlock = messages.UnlockRequest, messages.UnlockResponse, messages.LOCK_PACKAGE
        self.unlock = _call(channel, "Lock/Unlock", *unlock)


class EtcdClient:
    """Blocks until a reply arrives; fails over to the next node after an error or a timeout."""

    def __init__(
        self,
        addresses: Sequence[str],
        *,
        attempt_max_s: float = CALL_MAX_S,
        call_max_s: float = CALL_MAX_S,
    ) -> None:
        self._attempt_max_s = attempt_max_s
        self._call_max_s = call_max_s
        self._nodes = [
            _Calls(grpc.insecure_channel(address, options=_CHANNEL_OPTIONS))
            for address in addresses
        ]
        self._turn = 0
        self._lease = 0

    def put(self, key: str, value: bytes) -> None:
        """Write a value; a repeated attempt writes the same value once more."""
        self._ask("put", messages.PutRequest(key=key.encode(), value=value))

    def get(self, key: str) -> bytes | None:
        """Read a value; ranges are linearizable by default."""
        return _value(self._ask("range", messages.RangeRequest(key=key.encode())))

    def pipeline(self, puts: Puts) -> None:
        """Write values one after the other: etcd has no pipelines."""
        for key, value in puts:
            self.put(key, value)

    def transaction(self, puts: Puts) -> None:
        """Write values in one transaction."""
        self._ask("txn", _txn(puts))

    def scan(self, prefix: str) -> int:
        """Read all entries under a prefix, at one revision, by pages; return their number."""
        count, request = 0, _first_page(prefix)
        while True:
            answer = self._ask("range", request)
            count += len([(each.key.decode(), each.value) for each in answer.kvs])
            if not answer.more:
                return count
            request = _next_page(request, answer)

    def lock(self, name: str) -> None:
        """Acquire a lock by etcd's own lock service, with a lease that is kept, and release it."""
        self._lease = self._lease or self._ask("grant", GRANT).ID
        request = messages.LockRequest(name=name.encode(), lease=self._lease)
        held = self._ask("lock", request)
        self._ask("unlock", messages.UnlockRequest(key=held.key))

    def keep_alive(self) -> None:
        """Keep a lease alive, over a stream for each request."""
        self._lease = self._lease or self._ask("grant", GRANT).ID
        self._ask("keep_alive", messages.LeaseKeepAliveRequest(ID=self._lease))

    def status(self) -> Status:
        """Return the status that a node reports."""
        answer = self._ask("status", messages.StatusRequest())
        return Status(member_id=answer.header.member_id, leader_id=answer.leader)

    def close(self) -> None:
        """Close every channel."""
        for node in self._nodes:
            node.channel.close()

    def _ask(self, call: str, request: Any) -> Any:
        deadline = time.monotonic() + self._call_max_s
        while True:
            calls = self._nodes[self._turn % len(self._nodes)]
            try:
                return getattr(calls, call)(request, timeout=self._attempt_max_s)
            except grpc.RpcError:
                if time.monotonic() > deadline:
                    raise
                self._turn += 1
                time.sleep(RETRY_PAUSE_S)


def connect_impatiently(addresses: Sequence[str]) -> EtcdClient:
    """Return a client with fast failover."""
    return EtcdClient(addresses, attempt_max_s=IMPATIENT_ATTEMPT_MAX_S)


def connect_once(address: str) -> EtcdClient:
    """Return a client of one node without retries."""
    return EtcdClient([address], attempt_max_s=STATUS_MAX_S, call_max_s=0)


class AsyncEtcdClient:
    """Sends concurrent requests to one node."""

    def __init__(self, addresses: Sequence[str]) -> None:
        self._calls = _Calls(grpc.aio.insecure_channel(addresses[0]))
        self._watches: EtcdWatches | None = None
        self._idle_leases: list[int] = []
        self._keep_alives: EtcdKeepAlives | None = None

    def put(self, key: str, value: bytes) -> Awaitable[object]:
        """Start to write a value."""
        request = messages.PutRequest(key=key.encode(), value=value)
        answer: Awaitable[object] = self._calls.put(request, timeout=CALL_MAX_S)
        return answer

    def get(self, key: str) -> Awaitable[object]:
        """Start to read a value linearizably."""
        request = messages.RangeRequest(key=key.encode())
        answer: Awaitable[object] = self._calls.range(request, timeout=CALL_MAX_S)
        return answer

    async def pipeline(self, puts: Puts) -> None:
        """Write values concurrently: etcd has no pipelines."""
        await asyncio.gather(*[self.put(key, value) for key, value in puts])

    def transaction(self, puts: Puts) -> Awaitable[object]:
        """Start to write values in one transaction."""
        answer: Awaitable[object] = self._calls.txn(_txn(puts), timeout=CALL_MAX_S)
        return answer

    async def scan(self, prefix: str) -> int:
        """Read all entries under a prefix, at one revision, by pages; return their number."""
        count, request = 0, _first_page(prefix)
        while True:
            answer = await self._calls.range(request, timeout=CALL_MAX_S)
            count += len([(each.key.decode(), each.value) for each in answer.kvs])
            if not answer.more:
                return count
            request = _next_page(request, answer)

    async def lock(self, name: str) -> None:
        """Acquire a lock by etcd's own lock service, with a lease of its own, and release it."""
        lease = self._idle_leases.pop() if self._idle_leases else (await self._grant())
        request = messages.LockRequest(name=name.encode(), lease=lease)
        held = await self._calls.lock(request, timeout=CALL_MAX_S)
        await self._calls.unlock(messages.UnlockRequest(key=held.key), timeout=CALL_MAX_S)
        self._idle_leases.append(lease)

    async def keep_alive(self) -> None:
        """Keep a lease alive, over one stream for all."""
        if self._keep_alives is None:
            self._keep_alives = EtcdKeepAlives(self._calls.channel, await self._grant())
        await self._keep_alives.send()

    async def _grant(self) -> int:
        lease: int = (await self._calls.grant(GRANT, timeout=CALL_MAX_S)).ID
        return lease

    async def watch(self, prefix: str, subscribers: int) -> list[EtcdWatch]:
        """Watch a prefix a number of times over one stream; return when all are confirmed."""
        if self._watches is None:
            self._watches = EtcdWatches(self._calls.channel)
        return await self._watches.create(prefix, subscribers)

    async def close(self) -> None:
        """Close the channel."""
        if self._watches is not None:
            await self._watches.close()
        if self._keep_alives is not None:
            await self._keep_alives.close()
        await self._calls.channel.close()


def _txn(puts: Puts) -> Any:
    requests = [messages.PutRequest(key=key.encode(), value=value) for key, value in puts]
    operations = [messages.RequestOp(request_put=request) for request in requests]
    return messages.TxnRequest(success=operations)


def _first_page(prefix: str) -> Any:
    begin, end = messages.range_of(prefix)
    return messages.RangeRequest(key=begin, range_end=end, limit=PAGE_ENTRIES)


def _next_page(request: Any, answer: Any) -> Any:
    after = answer.kvs[-1].key + b"\0"
    revision = request.revision or answer.header.revision
    return messages.RangeRequest(
        key=after, range_end=request.range_end, limit=PAGE_ENTRIES, revision=revision
    )


def _value(answer: Any) -> bytes | None:
    return answer.kvs[0].value if answer.kvs else None

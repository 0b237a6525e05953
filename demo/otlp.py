"""A collector on the loopback interface that takes OTLP/HTTP as its own protobuf says it is."""

import asyncio
import ssl
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Self

from aiohttp import web
from google.protobuf import json_format  # type: ignore[import-untyped]
from google.protobuf.message import DecodeError, Message  # type: ignore[import-untyped]
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsServiceRequest,
    ExportLogsServiceResponse,
)
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.metrics.v1.metrics_pb2 import NumberDataPoint

LARGEST_REQUEST = 20 * 1024 * 1024
_JSON, _PROTOBUF = "application/json", "application/x-protobuf"

type Answer = Callable[[web.Request, int], Awaitable[web.StreamResponse | None]]
"""Answers a request in the collector's place, or returns None; the number counts from 1."""


@dataclass(frozen=True, slots=True)
class Record:
    """A log record, the attributes of its resource and of itself, and when it came (Unix time)."""

    resource: dict[str, Any]
    attributes: dict[str, Any]
    record: LogRecord
    at: float = field(default_factory=time.time)

    @property
    def body(self) -> str:
        """Its text."""
        return self.record.body.string_value


@dataclass(frozen=True, slots=True)
class Point:
    """A value of a gauge."""

    resource: dict[str, Any]
    name: str
    unit: str
    point: NumberDataPoint

    @property
    def value(self) -> float:
        """What was measured, whole or not."""
        of_kind: float = getattr(self.point, self.point.WhichOneof("value") or "as_double")
        return of_kind


@dataclass(slots=True)
class Received:
    """What came in requests that were answered with a success, in the order of their arrival."""

    records: list[Record] = field(default_factory=list)
    points: list[Point] = field(default_factory=list)
    requests: int = 0
    invalid: list[str] = field(default_factory=list)


class LocalCollector:
    """Takes logs and metrics, as JSON or protobuf; ``answer`` can make it a hostile one.

    With ``hangs_up`` it takes requests and closes before it answers. Its address is ``url``. With
    ``tls`` it speaks https. ``headers`` are those of all requests.
    """

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.received = Received()
        self.headers: list[dict[str, str]] = []
        self.answer: Answer | None = None
        self.hangs_up = False
        self.port = 0
        self._tls = tls
        self._runner: web.AppRunner | None = None
        self._came = asyncio.Event()

    @property
    def url(self) -> str:
        """Where it listens, without the signals' paths."""
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        """Start to listen."""
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop."""
        await self.stop()

    async def start(self) -> None:
        """Listen, on the port of before if there was one."""
        app = web.Application(client_max_size=LARGEST_REQUEST)
        app.router.add_post("/v1/logs", self._logs)
        app.router.add_post("/v1/metrics", self._metrics)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(
            self._runner, "127.0.0.1", self.port, ssl_context=self._tls, reuse_address=True
        )
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Listen no longer."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def wait_for(self, condition: Callable[[Received], bool]) -> None:
        """Return once what was received is as it should be."""
        while not condition(self.received):
            self._came.clear()
            await self._came.wait()

    async def _logs(self, request: web.Request) -> web.StreamResponse:
        return await self._take(
            request, ExportLogsServiceRequest(), ExportLogsServiceResponse(), self._take_logs
        )

    async def _metrics(self, request: web.Request) -> web.StreamResponse:
        return await self._take(
            request,
            ExportMetricsServiceRequest(),
            ExportMetricsServiceResponse(),
            self._take_points,
        )

    async def _take(
        self,
        request: web.Request,
        message: Message,
        answer: Message,
        take: Callable[[Any], None],
    ) -> web.StreamResponse:
        self.received.requests += 1
        self.headers.append(dict(request.headers))
        self._came.set()
        if self.answer is not None:
            told = await self.answer(request, self.received.requests)
            if told is not None:
                return told
        body = await request.read()
        try:
            if request.content_type == _JSON:
                json_format.Parse(body, message)
            else:
                message.ParseFromString(body)
        except (json_format.ParseError, DecodeError, UnicodeDecodeError) as error:
            self.received.invalid.append(str(error))
            return web.json_response({"message": str(error)}, status=400)
        take(message)
        self._came.set()
        if self.hangs_up and request.transport is not None:
            request.transport.abort()
        if request.content_type == _JSON:
            return web.Response(text=json_format.MessageToJson(answer), content_type=_JSON)
        return web.Response(body=answer.SerializeToString(), content_type=_PROTOBUF)

    def _take_logs(self, message: ExportLogsServiceRequest) -> None:
        for of_resource in message.resource_logs:
            resource = plain(of_resource.resource.attributes)
            for scope in of_resource.scope_logs:
                self.received.records += [
                    Record(resource, plain(record.attributes), record)
                    for record in scope.log_records
                ]

    def _take_points(self, message: ExportMetricsServiceRequest) -> None:
        for of_resource in message.resource_metrics:
            resource = plain(of_resource.resource.attributes)
            for scope in of_resource.scope_metrics:
                for metric in scope.metrics:
                    self.received.points += [
                        Point(resource, metric.name, metric.unit, point)
                        for point in metric.gauge.data_points
                    ]


def plain(attributes: Any) -> dict[str, Any]:
    """Return attributes as they are without their types."""
    return {each.key: _value(each.value) for each in attributes}


def _value(value: AnyValue) -> Any:
    if (kind := value.WhichOneof("value")) == "array_value":
        return [_value(each) for each in value.array_value.values]
    return None if kind is None else getattr(value, kind)

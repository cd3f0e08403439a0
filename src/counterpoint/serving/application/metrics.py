"""Numbers about the server, in the form of Prometheus."""

from __future__ import annotations

import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ...registry import require

_METHODS = frozenset({"GET", "POST", "OPTIONS", "HEAD"})


class Metrics:
    """Counts: requests by route and status, their seconds, how many are in hand, what is embedded together."""

    def __init__(self) -> None:
        prometheus = require("prometheus_client", "serve")
        self.registry = prometheus.CollectorRegistry()
        common = {"registry": self.registry, "namespace": "counterpoint"}
        self.requests = prometheus.Counter(
            "requests", "Requests that were answered.", ["route", "method", "status"], **common
        )
        self.seconds = prometheus.Histogram("request_seconds", "Seconds of a request.", ["route"], **common)
        self.in_hand = prometheus.Gauge("requests_in_hand", "Requests that are in hand.", **common)
        self.batches = prometheus.Histogram(
            "batch_inputs",
            "Texts or pictures that were embedded together.",
            ["modality"],
            buckets=[1, 2, 4, 8, 16, 32, 64, 128, 256],
            **common,
        )
        self._text = prometheus.generate_latest

    def batch(self, modality: str, inputs: int) -> None:
        """Count inputs that were embedded together."""
        self.batches.labels(modality).observe(inputs)

    def text(self) -> bytes:
        """Return all numbers."""
        return self._text(self.registry)


class MetricsMiddleware:
    """A layer that counts requests.

    Args:
        app: the application below.
        metrics: where they are counted.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app, self.metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began, status = time.perf_counter(), "none"  # where nobody waited for the answer

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = str(message["status"])
            await send(message)

        try:
            await self.app(scope, receive, noted)
        finally:
            route = getattr(scope.get("route"), "path", "other")
            method = scope["method"] if scope["method"] in _METHODS else "other"
            self.metrics.requests.labels(route, method, status).inc()
            self.metrics.seconds.labels(route).observe(time.perf_counter() - began)

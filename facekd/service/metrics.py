"""What the service counts, for Prometheus."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

from facekd.service.admission import Admission
from facekd.version import __version__

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Metrics:
    """Requests by route, not by path: no label contains a person's name."""

    def __init__(self, admission: Admission) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self._requests = Counter(
            "facekd_requests", "Requests answered.", ("method", "route", "status"), registry=self._registry
        )
        self._seconds = Histogram(
            "facekd_request_seconds", "Seconds until a request was answered, including its upload.",
            ("method", "route"), registry=self._registry, buckets=_SECONDS,
        )  # fmt: skip
        taken = Gauge("facekd_places_taken", "Requests in progress or waiting.", registry=self._registry)
        taken.set_function(lambda: admission.taken)
        places = Gauge("facekd_places", "Requests that may be in progress or wait.", registry=self._registry)
        places.set(admission.places)
        version = Gauge("facekd_version", "The version of facekd.", ("version",), registry=self._registry)
        version.labels(__version__).set(1)

    def count(self, method: str, route: str, status: int, seconds: float) -> None:
        self._requests.labels(method, route, status).inc()
        self._seconds.labels(method, route).observe(seconds)

    def text(self) -> bytes:
        return generate_latest(self._registry)

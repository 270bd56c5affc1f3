"""Flags of ``bertpass serve``."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from typing import Any

from bertpass.errors import UsageError
from bertpass.model.given import Given
from bertpass.options import check, flag
from bertpass.serving.logs import FORMATS, LEVELS


def _flag(default: Any, help: str, name: str, **more: Any) -> Any:
    """A flag that may be written with dashes as well."""
    return flag(default, help, aliases=("--" + name.replace("_", "-"),) if "_" in name else (), **more)


def _numbers(name: str, text: str | None) -> list[int]:
    """Whole numbers from 1, divided by commas; none of no text."""
    words = [] if text is None else text.split(",")
    if not all(word.strip().isdecimal() and int(word) for word in words):
        raise UsageError(f"--{name} {text}: write whole numbers from 1, divided by commas.")
    return [int(word) for word in words]


@dataclass
class ServeOptions(Given):
    """Words and flags of bertpass serve."""

    models: list[str] = flag([], "bundles, Hugging Face folders, .params files, packed files, minilm; NAME=PATH gives "
                             "a name (default: the file's or folder's)", group="model", positional=True)
    engine: str = flag("native", "what computes; dummy needs no weights and serves the models embedding, "
                       "classification, qa, tokens, ranking and none; embedding@2000 takes a second for 2000 tokens",
                       group="model", choices=("native", "dummy"))
    dtype: str | None = flag(None, "precision of the native engine: auto, float32, bfloat16, int8, float16 (default: a "
                             "packed file's own, else auto)", group="model")
    config: str | None = flag(None, "YAML file with any of these flags, by their names; models is a list",
                              group="configuration")
    host: str = flag("127.0.0.1", "address to listen at; 0.0.0.0 is every one, :: every one of IPv6 "
                     "too", group="network")
    port: int = flag(8080, "port to listen at; 0 takes a free one", group="network", least=0, most=65535)
    uds: str | None = flag(None, "path of a UNIX socket to listen at, in place of a host and a port", group="network",
                           metavar="PATH")
    root_path: str = _flag("", "prefix under which a proxy shows the server, as /bert; it may take it away or pass it "
                           "on", "root_path", group="network", metavar="PREFIX")
    cors_allow_origin: list[str] = _flag([], "origins whose pages may ask the server, as https://example.org; * is "
                                         "every one", "cors_allow_origin", group="network", metavar="ORIGIN")
    keep_alive: int = _flag(75, "seconds for which a connection without requests is kept", "keep_alive",
                            group="network", least=1)
    api_key: str | None = _flag(None, "key that clients send as 'Authorization: Bearer KEY'; better set as a variable, "
                                "which no list of processes shows", "api_key", group="network")
    payload_limit: int = _flag(2_000_000, "largest body of a request in bytes", "payload_limit", group="limits",
                               least=1)
    body_timeout: float = _flag(20.0, "seconds within which a request's body has to arrive", "body_timeout",
                                group="limits", least=0.01)
    max_connections: int = _flag(4096, "connections at once, as far as the system lets the server open files; for a "
                                 "new one beyond them an idle one is closed", "max_connections", group="limits",
                                 least=1)
    header_timeout: float = _flag(20.0, "seconds within which a connection has to send the head of a request, also of "
                                  "its first", "header_timeout", group="limits", least=0.01)
    write_timeout: float = _flag(30.0, "seconds after which a connection is closed whose client reads nothing of its "
                                 "answer", "write_timeout", group="limits", least=0.01)
    unsent_limit: int = _flag(256_000_000, "bytes of answers that may wait to be read; beyond them the connection that "
                              "waits longest is closed", "unsent_limit", group="limits", least=1)
    max_concurrent_requests: int = _flag(512, "requests at once; more are answered with 429",
                                         "max_concurrent_requests", group="limits", least=1)
    max_client_batch_size: int = _flag(1024, "texts in one request; they are split by tokens",
                                       "max_client_batch_size", group="limits", least=1)
    queue_timeout: float = _flag(10.0, "answer deadline in seconds; a request that is expected to need more than 40 % "
                                 "of it is refused at once with 429", "queue_timeout",
                                 group="limits", least=0.001)
    auto_truncate: bool = _flag(False, "cut texts that are too long unless a request says otherwise", "auto_truncate",
                                group="limits")
    max_batch_tokens: int = _flag(2048, "tokens per batch; larger batches gain little on a CPU, and new requests wait "
                                  "for the batch in progress", "max_batch_tokens", group="batching", least=1)
    max_wait: float = _flag(0.0, "milliseconds that an idle instance waits for a batch to fill", "max_wait",
                            group="batching", least=0, most=1000)
    instances: int | None = flag(None, "engine processes, each on cores of its own (default: one for each group of "
                                 "cores with a common L3, or as many as --cores_per_instance lets fit)",
                                 group="instances", least=1)
    cores_per_instance: int | None = _flag(None, "cores of each (default: all cores divided among them)",
                                           "cores_per_instance", group="instances", least=1)
    instance_cores: str | None = _flag(None, "cores of each instance where they differ, as 1,3: short requests go to "
                                       "the small ones", "instance_cores", group="instances", metavar="N,N,...")
    instance_lengths: str | None = _flag(None, "tokens of the longest row for each of --instance_cores but the last, "
                                         "as 128 (default: the model's length times the share of all cores that "
                                         "this instance and all smaller ones have)", "instance_lengths",
                                         group="instances", metavar="N,...")
    pin: bool = flag(True, "keep instances on cores of their own; never where a cgroup quota is a share of more "
                     "processors, or where other servers have the cores", group="instances")
    compute_timeout: float | None = _flag(None, "seconds after which an instance that computes a batch is replaced "
                                          "(default: --queue_timeout, at least 5, and at least 5 times what the batch "
                                          "is expected to take; 60 for the first). One that does nothing at all is "
                                          "replaced after 0.2 of --queue_timeout, at least 1",
                                          "compute_timeout", group="instances", least=0.05)
    health_interval: float = _flag(10.0, "seconds without work after which an instance is asked for a forward",
                                   "health_interval", group="instances", least=0.05)
    drain_timeout: int = _flag(30, "seconds that requests in progress have after SIGTERM", "drain_timeout",
                               group="instances", least=1)
    log_format: str = _flag("text", "lines for people, or JSON lines", "log_format", group="observation",
                            choices=FORMATS)
    log_level: str = _flag("info", "what is logged; requests are info", "log_level", group="observation",
                           choices=LEVELS)
    otlp_endpoint: str | None = _flag(None, "OpenTelemetry collector that gets a trace of each request, as "
                                      "http://localhost:4318 (pip install '.[otel]')", "otlp_endpoint",
                                      group="observation")
    ray: bool = flag(False, "serve as replicas on Ray (pip install '.[ray]')", group="Ray")
    ray_address: str | None = _flag(None, "address of a running cluster, auto for the one of this machine (default: "
                                    "Ray is started here)", "ray_address", group="Ray")
    replicas: int = flag(1, "whole servers behind one address", group="Ray", least=1)
    max_replicas: int | None = _flag(None, "largest number of replicas: they are added while requests wait, and "
                                     "removed again",
                                     "max_replicas", group="Ray", least=1)
    ongoing_requests: float = _flag(16.0, "requests in progress on a replica above which another is added",
                                    "ongoing_requests", group="Ray", least=0.1)
    scale_up_delay: float = _flag(30.0, "seconds with more requests than --ongoing_requests before a replica is added",
                                  "scale_up_delay", group="Ray", least=0)
    scale_down_delay: float = _flag(600.0, "seconds with fewer requests than --ongoing_requests before a replica is "
                                    "removed",
                                    "scale_down_delay", group="Ray", least=0)

    def __post_init__(self) -> None:
        check(self)
        if self.api_key is not None:
            self.api_key = self.api_key.strip()  # a file's or a variable's last line break is no part of it
            if not (self.api_key.isascii() and self.api_key.isprintable() and self.api_key):
                raise UsageError("--api_key: give a key of printable ASCII characters.")
        self.host = re.sub(r"^\[(.*)\]$", r"\1", self.host.strip())  # [::1], as addresses have it
        self.root_path = self.root_path.strip().rstrip("/")
        if self.root_path and not (self.root_path.startswith("/") and self.root_path.isascii()):
            raise UsageError(f"--root_path {self.root_path}: write a path of ASCII characters that begins with a /, as "
                             "/bert.")
        self.cors_allow_origin = [origin.strip().rstrip("/") for origin in self.cors_allow_origin]
        for origin in self.cors_allow_origin:
            if origin != "*" and not re.fullmatch(r"https?://[^\s/]+", origin):
                raise UsageError(f"--cors_allow_origin {origin}: write an origin as http://localhost:3000, or *.")
        if self.uds is not None:
            self.uds = self.uds.strip()
        if self.otlp_endpoint is not None:
            self.otlp_endpoint = self.otlp_endpoint.strip()
        if self.otlp_endpoint is not None and not self.otlp_endpoint.startswith(("http://", "https://")):
            raise UsageError(f"--otlp_endpoint {self.otlp_endpoint}: must begin with http:// or https://.")
        if self.sizes and (self.instances, self.cores_per_instance) != (None, None):
            raise UsageError("--instance_cores says all about instances; leave out --instances and "
                             "--cores_per_instance.")
        if self.lengths and (len(self.lengths) != len(self.sizes) - 1 or self.lengths != sorted(self.lengths)
                             or self.sizes != sorted(self.sizes)):
            raise UsageError(f"--instance_lengths {self.instance_lengths}: give rising lengths, one for each of "
                             "--instance_cores, which must rise too, but the last.")
        if not self.ray and (self.ray_address or self.replicas > 1 or self.max_replicas):
            raise UsageError("--ray_address, --replicas and --max_replicas are for --ray; on one machine --instances "
                             "gives more processes.")
        if self.max_replicas is not None and self.max_replicas < self.replicas:
            raise UsageError(f"--max_replicas {self.max_replicas}: must not be below --replicas {self.replicas}.")

    @property
    def sizes(self) -> list[int]:
        """--instance_cores as numbers."""
        return _numbers("instance_cores", self.instance_cores)

    @property
    def lengths(self) -> list[int]:
        """--instance_lengths as numbers."""
        return _numbers("instance_lengths", self.instance_lengths)

    def shown(self, changed: bool = False) -> dict[str, Any]:
        """The effective configuration, without the key itself; with ``changed`` only what is not by default."""
        found = {**dataclasses.asdict(self), "api_key": None if self.api_key is None else "set"}
        usual = dataclasses.asdict(ServeOptions()) if changed else {}
        return {name: value for name, value in found.items() if not changed or value != usual[name]}

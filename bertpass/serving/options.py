"""Flags of ``bertpass serve``."""

from __future__ import annotations

import dataclasses
import os
import re
from dataclasses import dataclass
from typing import Any

from bertpass.errors import UsageError
from bertpass.model.given import Given
from bertpass.options import check, flag
from bertpass.serving import keys, tls
from bertpass.serving.logs import FORMATS, LEVELS


def _numbers(name: str, text: str | None) -> list[int]:
    """Whole numbers from 1, divided by commas; none of no text."""
    words = [] if text is None else text.split(",")
    if not all(word.strip().isdecimal() and int(word) for word in words):
        raise UsageError(f"--{name} {text}: write whole numbers from 1, divided by commas.")
    return [int(word) for word in words]


@dataclass
class ServeOptions(Given):
    """Words and flags of bertpass serve."""

    models: list[str] = flag([], "bundles, Hugging Face folders, .params files, packed files or minilm; NAME=PATH "
                             "gives a model a name (default: that of its file or folder)", group="model",
                             positional=True)
    engine: str = flag("native", "native, or dummy, which needs no weights and serves the models embedding, "
                       "classification, qa, tokens, ranking, sparse, mlm, late and none; embedding@2000 computes 2000 "
                       "tokens per second",
                       group="model", choices=("native", "dummy"), rare=True)
    dtype: str | None = flag(None, "precision of the native engine: auto, float32, bfloat16, int8 or float16 (default: "
                             "a packed file's own, otherwise auto)", group="model")
    config: str | None = flag(None, "YAML file with any of these flags by name; models is a list",
                              group="configuration")
    host: str = flag("127.0.0.1", "address to listen at; 0.0.0.0 is every IPv4 address, :: every address",
                     group="network")
    port: int = flag(8080, "port to listen at; 0 takes a free one", group="network", least=0, most=65535)
    uds: str | None = flag(None, "path of a UNIX socket to listen at, in place of a host and a port", group="network",
                           metavar="PATH", rare=True)
    root_path: str = flag("", "prefix under which a proxy shows the server, as /bert; the proxy may remove it or pass "
                          "it on", group="network", metavar="PREFIX", rare=True)
    cors_allow_origin: list[str] = flag([], "origins whose pages may call the server, as https://example.org; * is "
                                        "every origin", group="network", metavar="ORIGIN")
    keep_alive: int = flag(75, "seconds after which an idle connection is closed", group="network", least=1, rare=True)
    api_key: str | None = flag(None, "key that clients send as 'Authorization: Bearer KEY'; as an environment variable "
                               "no list of processes shows it", group="network")
    api_keys: str | None = flag(None, "file with a line NAME:KEY or NAME:KEY RATE for each client; RATE is in requests "
                                "per second, and the names are in the log and in /metrics", group="network",
                                metavar="FILE")
    tls: list[str] = flag([], "speak HTTPS with this certificate and its private key: two PEM files, or one that holds "
                          "both", group="network", metavar="FILE")
    payload_limit: int = flag(2_000_000, "largest body of a request in bytes", group="limits", least=1, rare=True)
    body_timeout: float = flag(20.0, "seconds within which the body of a request has to arrive", group="limits",
                               least=0.01, rare=True)
    max_connections: int = flag(4096, "largest number of connections, as far as the system allows open files; beyond "
                                "it a new connection closes an idle one", group="limits", least=1, rare=True)
    header_timeout: float = flag(20.0, "seconds within which a connection has to send the head of a request, its first "
                                 "one included", group="limits", least=0.01, rare=True)
    write_timeout: float = flag(30.0, "seconds after which a connection is closed whose client does not read its "
                                "answer", group="limits", least=0.01, rare=True)
    unsent_limit: int = flag(256_000_000, "bytes of answers that may wait to be read; beyond them the connection that "
                             "has waited longest is closed", group="limits", least=1, rare=True)
    max_concurrent_requests: int = flag(512, "largest number of requests in progress; further ones are answered with "
                                        "429", group="limits", least=1)
    max_client_batch_size: int = flag(1024, "largest number of texts per request; they are split into batches by "
                                      "tokens", group="limits", least=1)
    queue_timeout: float = flag(10.0, "deadline of an answer in seconds; a request that is expected to need more than "
                                "40 % of it is refused at once with 429", group="limits", least=0.001)
    auto_truncate: bool = flag(False, "cut texts that are too long, unless a request says otherwise", group="limits")
    max_batch_tokens: int = flag(2048, "tokens per batch; larger batches gain little on a CPU, and new requests wait "
                                 "for the batch in progress", group="batching", least=1)
    max_wait: float = flag(0.0, "milliseconds that an idle instance waits for a batch to fill", group="batching",
                           least=0, most=1000, rare=True)
    instances: int | None = flag(None, "engine processes, each on cores of its own (default: one per group of cores "
                                 "with a common L3 cache, or as many as fit with --cores_per_instance)",
                                 group="instances", least=1)
    cores_per_instance: int | None = flag(None, "cores per instance (default: all cores divided by the number of "
                                          "instances)", group="instances", least=1)
    instance_cores: str | None = flag(None, "cores of each instance, where they differ, as 1,3; short requests go to "
                                      "the small instances", group="instances", metavar="N,N,...", rare=True)
    instance_lengths: str | None = flag(None, "longest row in tokens for each of --instance_cores but the last, as 128 "
                                        "(default: the model's length times the share of all cores that this instance "
                                        "and all smaller ones have)", group="instances", metavar="N,...", rare=True)
    pin: bool = flag(True, "keep instances on cores of their own; never done where a cgroup quota is a share of more "
                     "processors, or where other servers have the cores; --no_pin turns it off", group="instances",
                     rare=True)
    compute_timeout: float | None = flag(None, "seconds per batch after which an instance is replaced (default: "
                                         "--queue_timeout, at least 5, and at least 5 times the expected time; 60 for "
                                         "the first batch). An instance that does nothing at all is replaced after 0.2 "
                                         "of --queue_timeout, at least 1", group="instances", least=0.05, rare=True)
    health_interval: float = flag(10.0, "seconds without work after which an instance is tested with a batch",
                                  group="instances", least=0.05, rare=True)
    drain_timeout: int = flag(30, "seconds that requests in progress have after SIGTERM", group="instances", least=1,
                              rare=True)
    log_format: str = flag("text", "format of the log: lines for people, or JSON lines", group="observation",
                           choices=FORMATS)
    log_level: str = flag("info", "least level of what is logged; requests have the level info", group="observation",
                          choices=LEVELS)
    otlp_endpoint: str | None = flag(None, "OpenTelemetry collector that gets a trace of each request, as "
                                     "http://localhost:4318 (pip install '.[otel]')", group="observation", rare=True)
    ray: bool = flag(False, "serve as replicas on Ray (pip install '.[ray]')", group="Ray", rare=True)
    ray_address: str | None = flag(None, "address of a running Ray cluster; auto is the one of this machine (default: "
                                   "Ray is started here)", group="Ray", rare=True)
    replicas: int = flag(1, "whole servers behind one address", group="Ray", least=1, rare=True)
    max_replicas: int | None = flag(None, "largest number of replicas; replicas are added while requests wait, and "
                                    "removed again", group="Ray", least=1, rare=True)
    ongoing_requests: float = flag(16.0, "requests in progress per replica above which a replica is added", group="Ray",
                                   least=0.1, rare=True)
    scale_up_delay: float = flag(30.0, "seconds with more requests than --ongoing_requests before a replica is added",
                                 group="Ray", least=0, rare=True)
    scale_down_delay: float = flag(600.0, "seconds with fewer requests than --ongoing_requests before a replica is "
                                   "removed", group="Ray", least=0, rare=True)

    def __post_init__(self) -> None:
        check(self)
        if self.api_key is not None:
            self.api_key = self.api_key.strip()  # a file's or a variable's last line break is no part of it
            if not keys.usable(self.api_key):
                raise UsageError("--api_key: give a key of printable ASCII characters.")
        #: those of --api_key and --api_keys
        self.keys = keys.of(self.api_key, self.api_keys)
        self.tls = [os.path.expanduser(path) for path in self.tls]
        tls.context(self.tls)
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
            raise UsageError("--instance_cores sets the number and the size of all instances: leave --instances and "
                             "--cores_per_instance out.")
        if self.lengths and (len(self.lengths) != len(self.sizes) - 1 or self.lengths != sorted(self.lengths)
                             or self.sizes != sorted(self.sizes)):
            raise UsageError(f"--instance_lengths {self.instance_lengths}: give rising lengths, one fewer than the "
                             "numbers of --instance_cores, which must rise too.")
        if not self.ray and (self.ray_address or self.replicas > 1 or self.max_replicas):
            raise UsageError("--ray_address, --replicas and --max_replicas are for --ray; on one machine --instances "
                             "gives more processes.")
        if self.ray and self.tls:
            raise UsageError("--tls: Ray's proxy speaks HTTP only; put a proxy that speaks HTTPS in front of it.")
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

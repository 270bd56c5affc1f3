"""bertpass launch: a program as several instances, each on cores of its own."""

from __future__ import annotations

import dataclasses
import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from rich.console import Console
from rich.table import Table

from bertpass import placement
from bertpass.commands.run import guarded
from bertpass.errors import UsageError
from bertpass.jobs.machines import launch, launch_settings
from bertpass.options import flag, parse
from bertpass.placement import Instance, binding
from bertpass.placement.topology import format_list
from bertpass.progress import log, start_logging

EPILOG = """\
The command follows after --. In its words {instance} becomes the instance's number from 0, {instances} how many there
are, {threads} its threads, {cpus} its processors, {longest} its entry of --lengths.
  bertpass launch --instances 2 -- python server.py --port 80{instance}0
  bertpass launch --sizes 8,16,24 --lengths 32,384,512 --dry_run -- python server.py --max_length {longest}"""


@dataclass
class LaunchOptions:
    """Words and flags of bertpass launch."""

    USAGE_END: ClassVar[str] = "-- COMMAND ..."

    instances: int | None = flag(None, "number of instances; without further flags all cores are divided among them",
                                 group="instances", least=1, most=4096)
    cores_per_instance: int | None = flag(None, "cores per instance; without --instances as many instances as fit "
                                          "without crossing a NUMA node", group="instances", least=1)
    sizes: list[str] = flag([], "cores of each instance, as 8,16,24", group="instances")
    lengths: list[str] = flag([], "longest sequence that is sent to each instance, as 32,384,512", group="instances")
    threads_per_core: int = flag(1, "hardware threads to use per core", group="instances", least=1, most=8)
    core_type: str = flag("auto", "type of the cores; auto takes the performance cores where a processor has several "
                          "types", group="instances", choices=placement.KINDS)
    memory: str = flag("bind", "memory of an instance; bind takes it from the NUMA nodes of its cores alone",
                       group="memory", choices=("bind", "none"))
    allocator: str = flag("default", "malloc to preload", group="memory", choices=launch_settings.ALLOCATORS)
    huge_pages: bool = flag(False, "ask the allocator for transparent huge pages", group="memory")
    wait: str = flag("default", "behaviour of OpenMP threads between two parallel regions: active spins, passive "
                     "sleeps", group="threads", choices=launch_settings.WAITS)
    bind_threads: bool = flag(False, "pin each OpenMP thread to one core; only for programs whose threads are all "
                              "OpenMP's, since others inherit the first one's core", group="threads")
    iomp: bool = flag(False, "preload Intel's OpenMP runtime (libiomp5)", group="threads")
    on_failure: str = flag("stop", "what happens to the other instances when one fails", group="running",
                           choices=("stop", "keep"))
    grace: float = flag(10.0, "seconds after which an instance that was told to end is killed", group="running",
                        least=0)
    no_prefix: bool = flag(False, "leave out the instance's number before each line of output", group="running")
    dry_run: bool = flag(False, "print the plan and its shell commands, and run nothing", group="running")
    sysfs: str | None = flag(None, "copy of another machine's /sys to plan for, with --dry_run", group="running")

    def __post_init__(self) -> None:
        if self.sysfs is not None and not self.dry_run:
            raise UsageError("--sysfs plans for another machine and runs nothing there: add --dry_run.")
        if self.sysfs is not None and not (Path(self.sysfs) / "devices/system/cpu/online").is_file():
            raise UsageError(f"--sysfs {self.sysfs}: it has no devices/system/cpu/online; name a copy of /sys.")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the instances; returns the exit code of the first that failed, else 0."""
    def job() -> int:
        words = list(sys.argv[1:] if argv is None else argv)
        end = words.index("--") if "--" in words else len(words)
        options = parse(LaunchOptions, words[:end], "Run a program as several instances, each on cores of its own.",
                        EPILOG)
        command = words[end + 1:]
        if not command:
            raise UsageError("name the command after --, as in: bertpass launch --instances 2 -- python server.py.")
        if not options.dry_run and shutil.which(command[0]) is None:
            raise UsageError(f"{command[0]}: no such command.")
        topology = placement.here() if options.sysfs is None else placement.read(Path(options.sysfs))
        if options.memory == "none":
            topology = dataclasses.replace(topology, memory=())
        reason = ""
        if not options.dry_run:
            topology, reason = binding.bindable(topology)
        instances = placement.plan(topology, options.instances, options.cores_per_instance,
                                   numbers("sizes", options.sizes), numbers("lengths", options.lengths),
                                   options.threads_per_core, options.core_type)
        settings = launch_settings.Settings(options.allocator, options.huge_pages, options.iomp, options.wait,
                                            options.bind_threads)
        common = launch_settings.variables(settings, os.environ)
        changed = [launch_settings.for_instance(instance, common) for instance in instances]
        commands = [launch_settings.filled(command, instance, len(instances)) for instance in instances]
        if options.dry_run:
            show(instances, topology)
            for instance, words, variables in zip(instances, commands, changed, strict=True):
                print(f"{launch_settings.shell(instance, words, variables)} &")
            print("wait")
            return 0
        start_logging()
        if reason:
            log.warning("memory is not bound to NUMA nodes: %s; --memory none asks for none.", reason)
        for instance in instances:
            log.info("instance %d: %s", instance.number, place(instance))
        jobs = [launch.Job(instance, words, {**os.environ, **variables})
                for instance, words, variables in zip(instances, commands, changed, strict=True)]
        return launch.Launcher(jobs, stop_all=options.on_failure == "stop", grace=options.grace,
                               prefix=not options.no_prefix).run()
    return guarded(job)


def numbers(name: str, words: Sequence[str]) -> list[int]:
    """The numbers of a flag that takes "8,16,24" or "8 16 24"."""
    parts = [part for word in words for part in word.split(",") if part]
    if not all(part.isdigit() and int(part) > 0 for part in parts):
        raise UsageError(f"--{name} {' '.join(words)}: write positive whole numbers, as in 8,16,24.")
    return [int(part) for part in parts]


def place(instance: Instance) -> str:
    """Where an instance runs, as words."""
    memory = f"memory of node {format_list(instance.memory)}" if instance.memory else "memory not bound"
    return f"processors {format_list(instance.cpus)}, {memory}"


def show(instances: Sequence[Instance], topology: placement.Topology) -> None:
    """Print the plan as a table."""
    table = Table(title=str(topology), title_justify="left")
    for name in ("instance", "cores", "threads", "processors", "socket", "memory of node"):
        table.add_column(name, justify="right" if name in ("cores", "threads") else "left")
    lengths = [instance.longest for instance in instances]
    if any(lengths):
        table.add_column("tokens")
    for number, instance in enumerate(instances):
        row = [str(number), str(len(instance.cores)), str(len(instance.cpus)), format_list(instance.cpus),
               format_list(instance.sockets), format_list(instance.memory) or "not bound"]
        if any(lengths):
            row.append(f"{(lengths[number - 1] or 0) + 1 if number else 1} to {lengths[number]}")
        table.add_row(*row)
    Console(width=None if Console().is_terminal else 120).print(table)
    if len({len(instance.cpus) for instance in instances}) > 1 and not any(lengths):
        print("The instances differ in size; --cores_per_instance makes them equal.")

"""bertpass plan: which engine, precision, batch and instances answer a million requests for the least money."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bertpass.base.files import write_json
from bertpass.commands.run import guarded
from bertpass.errors import BertpassError, UsageError, unknown
from bertpass.options import check_output_folder, flag, parse

WIDTH = 140


@dataclass
class PlanOptions:
    """Flags of bertpass plan."""

    results: list[str] = flag([], "result files of bertpass bench cpu or scaling", positional=True, required=True,
                              formerly=("--results",))
    slo_ms: float | None = flag(None, "milliseconds that a batch may take (90th percentile)", required=True, least=0)
    prices: str | None = flag(None, "price list in YAML: name, dollars_per_hour, vcpus (default: four published "
                              "prices)")
    machine: list[str] = flag([], "machine of the price list on which the results were measured: NAME, or FILE=NAME "
                              "for each file")
    extrapolate: bool = flag(False, "apply the figures to the other machines of the list as well, by their cores")
    model: str | None = flag(None, "name of the model, where the results are of several models")
    requests: list[str] = flag([], "kinds of requests, as '128 tokens' or sst (default: all in the results)")
    max_error: float | None = flag(None, "largest relative L2 error of the token states from float32", least=0)
    top: int = flag(8, "lines per table", least=1)
    output: str | None = flag(None, "write the offers to this JSON file")

    def __post_init__(self) -> None:
        if not self.machine and not self.extrapolate:
            raise UsageError("say with --machine NAME which machine of the price list the results were measured on, or "
                             "ask with --extrapolate for the others.")


def main(argv: Sequence[str] | None = None) -> int:
    """Print the recommendations; returns the exit code, 1 where nothing keeps the bound."""
    def job() -> None:
        options = parse(PlanOptions, argv, "Choose engine, precision, batch and instances by what a million requests "
                        "cost.")
        if options.output:
            check_output_folder("output", Path(options.output).parent)
        from bertpass.bench.pages import cost, prices

        listed = prices.read(Path(options.prices)) if options.prices else prices.read()
        names = [Path(file).name for file in options.results]
        if len(set(names)) < len(names):
            raise UsageError(f"--results {' '.join(options.results)}: give the files different names.")
        owned = cost.owners(options.machine, names, listed)
        measured = [m for file in options.results for m in cost.read(Path(file))]
        measured = _chosen(measured, options)
        found = cost.offers(measured, owned, listed, options.extrapolate)
        slo = options.slo_ms or 0.0
        console = Console(width=None if Console().is_terminal else WIDTH)
        kept: list[cost.Offer] = []
        for request in dict.fromkeys(m.request for m in measured):
            here = [offer for offer in found if offer.measurement.request == request]
            fitting = cost.within(here, slo, options.max_error)
            kept += fitting
            if fitting:
                console.print(table(fitting[:options.top], f"{fitting[0].measurement.model}, {request}: dollars for a "
                                    f"million requests within {slo:g} ms, {len(fitting)} of {len(here)} offers"))
                for offer in dict.fromkeys(_leaders(fitting)):
                    console.print(sentence(offer), markup=False, highlight=False)
            else:
                console.print(f"{request}: {_nothing(here, slo)}", markup=False, highlight=False)
        _evidence(console, measured, listed, options.extrapolate)
        if options.output:
            content = {"slo_ms": slo, "max_error": options.max_error, "prices": {"source": listed.source,
                       "date": listed.date}, "offers": [offer.to_dict() for offer in kept]}
            write_json(options.output, content)
        if not kept:
            raise BertpassError(f"nothing that was measured keeps {slo:g} ms; the fastest are named above.")
    return guarded(job)


def _chosen(measured: list, options: PlanOptions) -> list:
    """The measurements of one model and of the wished kinds of requests."""
    models = list(dict.fromkeys(m.model for m in measured))
    if options.model is None and len(models) > 1:
        raise UsageError(f"the results are of several models; choose with --model: {', '.join(models)}.")
    model = options.model or models[0]
    if model not in models:
        raise UsageError(f"--model: {unknown('model', model, models)}")
    kinds = list(dict.fromkeys(m.request for m in measured if m.model == model))
    for word in options.requests:
        if word not in kinds:
            raise UsageError(f"--requests: {unknown('kind', word, kinds)}")
    return [m for m in measured if m.model == model and m.request in (options.requests or kinds)]


def table(offers: Sequence, title: str) -> Table:
    """Offers, a line each; "~" before the dollars of an extrapolated one and the latency of a noisy one."""
    made = Table(title=title)
    for name, justify in (("$ per million", "right"), ("machine", "left"), ("engine", "left"), ("precision", "left"),
                          ("batch", "right"), ("instances x cores", "right"), ("ms, p90", "right"),
                          ("a second", "right"), ("error", "right")):
        made.add_column(name, justify=justify)  # type: ignore[arg-type]
    for offer in offers:
        m = offer.measurement
        made.add_row(f"{'~' * offer.extrapolated}{offer.dollars:.3g}", offer.price.name, m.engine, m.precision,
                     str(m.rows), f"{m.instances * offer.copies} x {m.cores}", f"{'~' * m.noisy}{m.latency:.3g}",
                     f"{offer.per_second:.4g}", "-" if m.error is None else f"{m.error:.1e}")
    return made


def _leaders(offers: Sequence) -> list:
    """The cheapest that was measured, and the cheapest of all."""
    return [next((o for o in offers if not o.extrapolated), offers[0]), offers[0]]


def sentence(offer) -> str:  # type: ignore[no-untyped-def]
    """A recommendation with its evidence."""
    m = offer.measurement
    basis = f"measured on {m.source.cpu} with {m.source.cpus} processors ({m.source.file}), which you say is " \
            f"{offer.price.name}"
    if offer.extrapolated:
        basis = f"EXTRAPOLATED: measured on {m.source.cpu} with {m.source.cpus} processors ({m.source.file}) as " \
                f"{m.configuration}; {offer.price.name} was not measured, its {offer.price.cores} cores are taken to " \
                f"run {offer.copies} such, each as fast"
    where = f"{m.instances * offer.copies} x {m.cores} cores of {offer.price.name}"
    return (f"  {offer.dollars:.3g} $: {m.engine}, batches of {m.rows}, {where} at {offer.price.dollars_per_hour:g} $ "
            f"an hour: {offer.per_second:.4g} a second, {m.latency:.3g} ms. {basis}.")


def _nothing(offers: Sequence, slo: float) -> str:
    if not offers:
        return "no machine of the price list has room for a configuration that was measured."
    fastest = min(offers, key=lambda offer: offer.measurement.latency).measurement
    return (f"nothing keeps {slo:g} ms within the allowed error; the fastest is {fastest.engine} with batches of "
            f"{fastest.rows} as {fastest.configuration} in {fastest.latency:.3g} ms.")


def _evidence(console: Console, measured: Sequence, listed, extrapolate: bool) -> None:  # type: ignore[no-untyped-def]
    for source in dict.fromkeys(m.source for m in measured):
        console.print(f"{source.file}: {source.cpu}, {source.cpus} processors, revision {source.revision[:10]}: "
                      f"{source.command}", markup=False, highlight=False)
    console.print(f"prices: {listed.source}, {listed.date}", markup=False, highlight=False)
    console.print("A latency is that of computing one batch: waiting for its other requests and for a free instance "
                  "come on top." + (" ~ before a price: extrapolated." if extrapolate else ""), markup=False,
                  highlight=False)

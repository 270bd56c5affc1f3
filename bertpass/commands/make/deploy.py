"""bertpass deploy, published as deploy.py."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from bertpass.commands.run import guarded
from bertpass.jobs.deployment.options import DeployOptions
from bertpass.options import parse
from bertpass.progress import start_logging

EXAMPLES = """examples:
  %(prog)s --model_parameters output_dir/net.params --task SST --gpu 0 --dtype float16 \\
    --custom_pass=bertpass_lib.so
  %(prog)s --model_parameters output_dir/net.params --task SST --data_dir GLUE --compare
  %(prog)s --only_infer --exported_model output_dir/SST/SST --task SST --data_dir GLUE
  %(prog)s --model_parameters output_dir/net.params --text "a gripping film"
  %(prog)s --task embedding --bert_model minilm --data_dir GLUE --split test
"""


def show(result: dict[str, Any]) -> str:
    """The lines that a person reads (the same words as the published script)."""
    if "latency_ms" not in result:
        return json.dumps(result, indent=1, ensure_ascii=False)
    latency, settings = result["latency_ms"], result["settings"]
    lines = [
        f"BatchSize={result['batch_size']}, NumberIterations={result['iterations']}, "
        f"sequence length {result['sequence_length']}, {settings['dtype']} on {settings['device']}, "
        f"{settings['threads']} threads",
        f"Throughput={result['throughput_samples_per_s']:.2f} samples/s "
        f"({result['throughput_with_data_loading']:.2f} with data loading), Average Latency={latency['mean']:.2f} ms "
        f"(p50 {latency['p50']:.2f}, p90 {latency['p90']:.2f}, p99 {latency['p99']:.2f})",
    ]
    if result["metrics"]:
        part = "" if result["complete"] else f" on the first {result['sequences']} sequences"
        lines.append(", ".join(f"{k} {v:.4f}" for k, v in result["metrics"].items()) + part)
    if "compare" in result:
        compared = result["compare"]
        plain = compared["plain"]["latency_ms"]
        lines.append(f"medians: {plain['p50']:.2f} ms without passes, {latency['p50']:.2f} ms with passes, ratio "
                     f"{compared['ratio_of_median_latency']:.3f}; largest difference of an output "
                     f"{compared['max_output_difference']:.2e}")
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command with ``argv``; returns the exit code."""
    def job() -> None:
        options = parse(DeployOptions, argv, "Export a fine-tuned model, apply the graph passes and run it.", EXAMPLES)
        start_logging()
        from bertpass.jobs.deployment import deploy
        print(show(deploy.run(options)))
    return guarded(job)

"""What all pictures have in common: colours, hatches, and how a figure of matplotlib is begun and kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bertpass.extras import require

# M. Okabe, K. Ito: Color Universal Design; told apart with every kind of colour vision
BLUE, VERMILION, GREEN, ORANGE, PURPLE, SKY, YELLOW = \
    "#0072b2", "#d55e00", "#009e73", "#e69f00", "#cc79a7", "#56b4e9", "#f0e442"
GREY, DARK_GREY, LIGHT_GREY = "#999999", "#444444", "#dddddd"

#: engine -> its colour; ours is the one vivid colour
ENGINES = {"native": VERMILION, "openvino": BLUE, "onnxruntime": SKY, "torch": PURPLE, "mxnet": GREY}
#: of an engine that is not among :data:`ENGINES`
OTHER = GREEN
#: precision -> how its bars are hatched
HATCHES = {"float32": "", "bfloat16": "///", "float16": "...", "int8": "xxx"}
DPI = 130


def pyplot(extra: str = "bench") -> Any:
    """matplotlib.pyplot, which draws into files; MissingDependencyError with the ``extra`` where it is missing."""
    require("matplotlib", extra).use("Agg")
    return require("matplotlib.pyplot", extra)


def save(plt: Any, figure: Any, path: Path, title: str, size: int = 11, dpi: int = DPI) -> None:
    """Write a figure under its title; its folder is made where it is missing."""
    figure.suptitle(title, fontsize=size)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=dpi)
    plt.close(figure)

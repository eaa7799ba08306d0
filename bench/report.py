"""Writes the figures as a table, as JSON and as a plot."""

import json
import os
import platform
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

from bench.works import Work

REFERENCE, OURS = "dockerd", "sampand"


@dataclass
class Figures:
    """Samples by work and engine, and the conditions of the measurement."""

    versions: dict[str, str]
    rounds: int
    samples: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    load: float = field(default_factory=lambda: os.getloadavg()[0])

    def add(self, work: str, engine: str, sample: float) -> None:
        self.samples.setdefault(work, {}).setdefault(engine, []).append(sample)

    def median(self, work: str, engine: str) -> float | None:
        taken = self.samples.get(work, {}).get(engine)
        return statistics.median(taken) if taken else None

    def ratio(self, work: str, engine: str) -> float | None:
        """The engine's median relative to Docker's."""
        own, reference = self.median(work, engine), self.median(work, REFERENCE)
        return own / reference if own is not None and reference else None


def machine() -> dict[str, str]:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine())
    cores = sum(line.startswith("processor") for line in lines)
    return {"cpu": f"{cores} × {model}", "kernel": platform.release(), "python": platform.python_version()}


def shown(value: float | None, unit: str) -> str:
    if value is None:
        return "–"
    if unit == "MB":
        return f"{value:.1f} MB"
    return (
        f"{value:.2f} s" if value >= 1 else f"{value * 1000:.1f} ms" if value >= 0.002 else f"{value * 1000:.2f} ms"
    )


def table(figures: Figures, works: Sequence[Work]) -> str:
    """A Markdown table of the medians, and each engine's ratio to Docker."""
    engines = list(figures.versions)
    head = ["work", *(f"{engine} {figures.versions[engine]}" for engine in engines)]
    others = [engine for engine in engines if engine != REFERENCE and REFERENCE in engines]
    head += [*(f"{engine} ÷ {REFERENCE}" for engine in others), "budget"]
    rows = [
        [
            work.title,
            *(shown(figures.median(work.name, engine), work.unit) for engine in engines),
            *(ratio_text(figures.ratio(work.name, engine)) for engine in others),
            budget_text(figures, work),
        ]
        for work in works
        if work.name in figures.samples
    ]
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def ratio_text(ratio: float | None) -> str:
    return "–" if ratio is None else f"{ratio:.2f}"


def budget_text(figures: Figures, work: Work) -> str:
    """The budget, with ✓ or ✗ if sampan was measured."""
    budget = work.budget
    if budget.of is not None and budget.ratio is not None:
        own, other = figures.median(work.name, OURS), figures.median(budget.of, OURS)
        text, taken, most = f"≤ {budget.ratio} × {budget.of}", own / other if own and other else None, budget.ratio
    elif budget.ratio is not None:
        text, taken, most = f"≤ {budget.ratio:.3g} × {REFERENCE}", figures.ratio(work.name, OURS), budget.ratio
    elif budget.limit is not None:
        text, taken, most = f"≤ {shown(budget.limit, work.unit)}", figures.median(work.name, OURS), budget.limit
    else:
        return ""
    return text if taken is None else f"{text} {'✓' if taken <= most else '✗'}"


def write(figures: Figures, works: Sequence[Work], directory: Path) -> list[Path]:
    """Write table, JSON and plot to `directory`, and return their paths."""
    directory.mkdir(parents=True, exist_ok=True)
    markdown, document, plot = (directory / f"bench.{kind}" for kind in ("md", "json", "svg"))
    about = ", ".join(f"{name} {value}" for name, value in machine().items())
    note = f"Medians of {figures.rounds} interleaved rounds; {about}; load before: {figures.load:.1f}."
    markdown.write_text(f"{table(figures, works)}\n\n{note}\n")
    document.write_text(
        json.dumps({"machine": machine(), "versions": figures.versions, "samples": figures.samples}, indent=1) + "\n"
    )
    draw(figures, works, plot)
    return [markdown, document, plot]


COLOURS: Mapping[str, str] = {"sampand": "#0f7b8a", "dockerd": "#8a939b", "podman": "#b98bb0"}


def draw(figures: Figures, works: Sequence[Work], path: Path) -> None:
    """Draw bars of each engine's median relative to Docker's, so that all works fit on one axis."""
    mpl.rcParams["svg.fonttype"] = "none"
    drawn = [work for work in works if figures.ratio(work.name, REFERENCE) is not None]
    engines = list(figures.versions)
    figure = Figure(figsize=(8, 0.9 + 0.55 * len(drawn)), layout="constrained")
    axes = figure.add_subplot()
    height = 0.8 / len(engines)
    for place, engine in enumerate(engines):
        ratios = [figures.ratio(work.name, engine) or 0 for work in drawn]
        rows = [row + (place - (len(engines) - 1) / 2) * height for row in range(len(drawn))]
        bars = axes.barh(rows, ratios, height * 0.9, label=engine, color=COLOURS.get(engine))
        labels = [shown(figures.median(work.name, engine), work.unit) for work in drawn]
        axes.bar_label(bars, [text if text != "–" else "" for text in labels], padding=3, fontsize=7)
    axes.set_yticks(range(len(drawn)), [work.title.replace("`", "") for work in drawn], fontsize=8)
    axes.invert_yaxis()
    axes.axvline(1, color="#8a939b", linewidth=0.8, linestyle=":")
    axes.set_xlabel(f"median, {REFERENCE} = 1 (less is better)", fontsize=8)
    axes.legend(fontsize=8, frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, format="svg", metadata={"Date": None})

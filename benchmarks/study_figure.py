"""The figure of a study: one line per method, or one row per method if there are many."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

NAMES = {"audio": "audio", "visual": "visual", "audio_visual": "audio-visual"}
COLOURS = ("#0b6e99", "#c4572a", "#3f7d3a", "#8a4f9e", "#b8860b", "#c2185b", "#455a64", "#00897b")
MARKERS = "osD^vPXh"
Row = dict[str, Any]


def series(rows: list[Row], x: str) -> dict[str, list[tuple[Any, Row]]]:
    """The points of each method in axis order; a method without memory is a horizontal line."""
    places = list(dict.fromkeys(str(row[x]) for row in rows))
    lines: dict[str, list[tuple[Any, Row]]] = {}
    methods = list(dict.fromkeys(row["method"] for row in rows))
    memories = {m: {row["memory"] for row in rows if row["method"] == m} for m in methods}
    if x == "memory" and not any("0" in some and len(some) > 1 for some in memories.values()):
        places = [place for place in places if place != "0"] or places
    for method in methods:
        own = [row for row in rows if row["method"] == method]
        if x == "memory" and memories[method] == {"0"}:
            lines[method] = [(place, own[0]) for place in places]
        else:
            lines[method] = [(str(row[x]), row) for row in own if str(row[x]) in places]
    return lines


def draw(study: dict[str, Any], rows: list[Row], path: Path) -> None:
    """Draw one panel per metric, with error bars of one standard deviation."""
    methods = {row["method"] for row in rows}
    many = study["x"] == "label" and len(methods) > len(COLOURS)
    figure = (as_rows if many else as_lines)(study, rows)
    figure.suptitle(study["title"], x=0.01, ha="left", fontsize=12)
    figure.tight_layout()
    figure.savefig(path, dpi=130, bbox_inches="tight")
    plt.close(figure)


def title(axis: Axes, number: str) -> None:
    """Set the title of a panel, and hide its upper and right spines."""
    metric, _, modality = number.partition("_")
    axis.set_title(f"{metric}, {NAMES.get(modality, modality)}", fontsize=10, loc="left")
    axis.spines[["top", "right"]].set_visible(False)


def as_rows(study: dict[str, Any], rows: list[Row]) -> Figure:
    """One row per method, the best on top, and one mark per label."""
    shown = study.get("shown", ["last_audio_visual"])
    labels = list(dict.fromkeys(row["label"] for row in rows))
    by_method: dict[str, dict[str, Row]] = {}
    for row in rows:
        by_method.setdefault(row["method"], {}).setdefault(row["label"], row)

    def height(method: str) -> float:
        """Rank key of a method: its mean over the labels."""
        values = [row["numbers"][shown[-1]]["value"] for row in by_method[method].values()]
        return float(sum(values) / len(values))

    methods = sorted(by_method, key=height)
    size = (1.8 + 3.6 * len(shown), 1.4 + 0.32 * len(methods))
    figure, axes = plt.subplots(1, len(shown), figsize=size, squeeze=False, sharey=True)
    for axis, number in zip(axes[0], shown, strict=True):
        for index, label in enumerate(labels):
            known = [
                (at, by_method[m][label]) for at, m in enumerate(methods) if label in by_method[m]
            ]
            entries = [row["numbers"][number] for _, row in known]
            # Shifted, so that error bars do not overlap.
            shift = 0.18 * (index - (len(labels) - 1) / 2)
            axis.errorbar(
                [entry["value"] for entry in entries],
                [at - shift for at, _ in known],
                xerr=[entry["std"] or 0.0 for entry in entries],
                label=label,
                color=COLOURS[index],
                marker=MARKERS[index],
                linestyle="none",
                markersize=5,
                linewidth=1.2,
                capsize=2,
            )
        title(axis, number)
        axis.set_yticks(range(len(methods)), methods)
        axis.set_xlabel("percent")
        axis.grid(axis="both", alpha=0.25)
    handles, names = axes[0][0].get_legend_handles_labels()
    figure.legend(
        handles, names, loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, fontsize=9
    )
    return figure


def as_lines(study: dict[str, Any], rows: list[Row]) -> Figure:
    """One line per method; shifted marks without lines if the axis is categorical."""
    shown = study.get("shown", ["last_audio_visual"])
    places = list(
        dict.fromkeys(place for line in series(rows, study["x"]).values() for place, _ in line)
    )
    figure, axes = plt.subplots(
        1, len(shown), figsize=(1.2 + 4.2 * len(shown), 4.2), squeeze=False, sharex=True
    )
    # Labels are categorical: their points are not connected, but shifted.
    is_order = study["x"] != "label"
    for axis, number in zip(axes[0], shown, strict=True):
        for index, (method, line) in enumerate(series(rows, study["x"]).items()):
            known = [(p, row["numbers"][number]) for p, row in line]
            known = [(p, n) for p, n in known if n["value"] is not None]
            if not known:
                continue
            for place, n in known:
                values = n.get("each", [])
                at = [places.index(place) + (0 if is_order else 0.12 * index)] * len(values)
                axis.scatter(at, values, s=14, color=COLOURS[index % len(COLOURS)], alpha=0.35)
            axis.errorbar(
                [places.index(p) + (0 if is_order else 0.12 * index) for p, _ in known],
                [n["value"] for _, n in known],
                yerr=[n["std"] or 0.0 for _, n in known],
                label=method,
                color=COLOURS[index % len(COLOURS)],
                marker=MARKERS[index % len(MARKERS)],
                linestyle=("--" if index >= len(COLOURS) else "-") if is_order else "none",
                markersize=5,
                linewidth=1.4,
                capsize=2,
            )
        title(axis, number)
        if len(places) > 1:
            tilted = {"rotation": 40, "ha": "right"} if sum(map(len, places)) > 50 else {}
            axis.set_xticks(range(len(places)), places, **tilted)
            axis.set_xlabel(study.get("x_label", study["x"]))
        else:  # a single place: the axis shows the methods
            names = list(series(rows, study["x"]))
            axis.set_xticks([0.12 * i for i in range(len(names))], names, rotation=20, ha="right")
        axis.grid(axis="y", alpha=0.25)
    axes[0][0].set_ylabel("percent")
    handles, names = axes[0][0].get_legend_handles_labels()
    if len(places) > 1:
        figure.legend(
            handles, names, loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, fontsize=9
        )
    return figure

"""Draw what the benchmarks of the transfer and of fleets measured."""

from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib import pyplot as plt

STYLES = {
    "windowed": {"color": "#0b6e4f", "marker": "o"},
    "stop_and_wait": {"color": "#b23a48", "marker": "s"},
}
LABELS = {"windowed": "windowed (this integration)", "stop_and_wait": "stop and wait"}
LINES = {0.0: "-", 5.0: ":"}


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """Draw throughput over interval for both hosts: 16 KiB, without loss and with 5 %."""
    mpl.use("Agg")
    shown = [row for row in rows if row["size"] == 16384 and row["loss"] in LINES]
    proxies = sorted({row["proxy_ms"] for row in shown})
    figure, axes = plt.subplots(
        1, len(proxies), figsize=(9, 4.4), sharey=True, squeeze=False, layout="constrained"
    )
    for axis, proxy in zip(axes[0], proxies, strict=True):
        here = [row for row in shown if row["proxy_ms"] == proxy]
        bound = sorted({(row["interval_ms"], row["bound_bytes_per_s"]) for row in here})
        axis.plot(*zip(*bound, strict=True), color="#999999", linewidth=1, label="bound")
        for host, style in STYLES.items():
            for loss, line in LINES.items():
                points = sorted(
                    (row["interval_ms"], row["bytes_per_s"])
                    for row in here
                    if row["host"] == host and row["loss"] == loss
                )
                if points:
                    label = f"{LABELS[host]}, {loss:g} % loss"
                    axis.plot(*zip(*points, strict=True), linestyle=line, label=label, **style)
        axis.set(xlabel="connection interval, ms", yscale="log", ylim=(20, 20000))
        axis.set_title("direct" if not proxy else f"over a proxy, {proxy:g} ms each way")
        axis.grid(visible=True, which="both", alpha=0.25)
    axes[0][0].set_ylabel("16 KiB log, bytes per second")
    handles, labels = axes[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, fontsize=8)
    figure.savefig(path, dpi=130)


def draw_fleet(rows: list[dict[str, Any]], path: Path) -> None:
    """Draw waits, and where it was measured processor time, over the number of devices."""
    mpl.use("Agg")
    styles = dict(zip(("ours", "naive"), STYLES.values(), strict=True))
    panels = {
        "wait until collected, s": ("p95_wait_s", "max_wait_s"),
        "busy share of the slots that are waited for": ("slot_use",),
    }
    if "cpu_ms_per_session" in rows[0]:
        panels["processor time per session, ms"] = ("cpu_ms_per_session",)
    figure, axes = plt.subplots(
        1, len(panels), figsize=(4 * len(panels), 4), squeeze=False, layout="constrained"
    )
    for axis, (title, names) in zip(axes[0], panels.items(), strict=True):
        for scheduler, style in styles.items():
            for name, line in zip(names, ("-", ":"), strict=False):
                here = [row for row in rows if row["scheduler"] == scheduler and name in row]
                label = f"{scheduler}, {name.split('_')[0]}" if len(names) > 1 else scheduler
                axis.plot(
                    [row["devices"] for row in here],
                    [row[name] for row in here],
                    linestyle=line,
                    label=label,
                    **style,
                )
        axis.set(title=title, xlabel="devices", ylim=(0, None))
        axis.grid(visible=True, alpha=0.25)
        axis.legend(fontsize=8)
    figure.savefig(path, dpi=130)

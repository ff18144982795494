"""Tables of what compare.sh has measured: compare.py RESULTS CLOCK_TICKS_A_SECOND"""

import json
import statistics
import sys
from pathlib import Path


class Run:
    """One server under one load."""

    def __init__(self, path, tick):
        report = json.loads(path.read_text())
        self.tail = self.cost = self.busy = None
        self.failed = 0
        if "rate" in report:
            self.rate = report["rate"]
            return
        run = report["runs"][0]
        self.rate = run["messages"]["per_second"]
        self.failed = run["messages"]["failed"]
        if run["latency"]["message"]:
            latency = run["latency"]["message"]
            # Null where there are too few messages for it; the longest is not less.
            self.tail = (latency["p99_9"] or latency["max"]) / 1e3
        used = int(path.with_suffix(".ticks").read_text()) * tick
        if run["messages"]["accepted"]:
            self.cost = used * 1e6 / run["messages"]["accepted"]
        self.busy = used / run["seconds"]


def runs_of(directory, server, tick):
    """By the number of the repetition."""
    runs = {}
    for path in directory.glob(f"{server}.*.json"):
        try:
            runs[int(path.suffixes[-2][1:])] = Run(path, tick)
        except (OSError, ValueError, KeyError, IndexError) as error:
            print(f"compare.py: {path}: {error}", file=sys.stderr)
    return runs


def middle(values):
    values = [value for value in values if value is not None]
    return statistics.median(values) if values else None


def ratio(runs, others, value):
    """The median of the ratios within repetitions."""
    pairs = [(value(runs[number]), value(others[number])) for number in runs if number in others]
    return middle(own / other for own, other in pairs if own is not None and other)


def verdict(checks):
    """Each is what was reached and whether that is enough. `None`: something was not measured."""
    if any(reached is None for reached, _ in checks):
        return None
    return all(is_enough(reached) for reached, is_enough in checks)


def table(directory, tick):
    name, servers, targets = (directory / "row").read_text().splitlines()
    of_floor, of_sink, tail_factor = (None if text == "-" else float(text) for text in targets.split())
    measured = {server: runs_of(directory, server, tick) for server in servers.split()}
    floor, *_ = servers.split()
    target = [f"{of_floor:.2f} of the floor"]
    target += [f"{of_sink} of smtp-sink"] if of_sink else []
    target += [f"P99.9 within {tail_factor:.0f} times the floor's"] if tail_factor else []
    print(f"\n**{name}.** Target: {', '.join(target)}.\n")
    print("| | messages/s | of the floor | of smtp-sink | P99.9 | server time | server busy | failed | target |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|---|")
    truth = []
    for server, runs in measured.items():
        if not runs:
            print(f"| {server} | - | | | | | | | |")
            continue
        row = {
            "server": server,
            "rate": middle(run.rate for run in runs.values()),
            "of_floor": ratio(runs, measured[floor], lambda run: run.rate),
            "of_smtp_sink": ratio(runs, measured.get("smtp-sink", {}), lambda run: run.rate),
            "tail_of_floor": ratio(runs, measured[floor], lambda run: run.tail),
            "p99_9_ms": middle(run.tail for run in runs.values()),
            "server_us": middle(run.cost for run in runs.values()),
            "server_busy": middle(run.busy for run in runs.values()),
            "failed": sum(run.failed for run in runs.values()),
        }
        row["met"] = None
        if server not in (floor, "smtp-sink"):
            checks = [(row["of_floor"], lambda it: it >= of_floor), (row["failed"], lambda it: it == 0)]
            if of_sink and measured.get("smtp-sink"):
                checks.append((row["of_smtp_sink"], lambda it: it >= of_sink))
            if tail_factor:
                checks.append((row["tail_of_floor"], lambda it: it <= tail_factor))
            row["met"] = verdict(checks)
        truth.append(row)
        show = lambda key, form: "" if row[key] is None else form.format(row[key])
        cells = [
            server,
            show("rate", "{:,.0f}"),
            show("of_floor", "{:.2f}"),
            show("of_smtp_sink", "{:.2f}"),
            show("p99_9_ms", "{:.2f} ms"),
            show("server_us", "{:,.2f} µs"),
            show("server_busy", "{:.0%}"),
            show("failed", "{}"),
            {None: "", True: "met", False: "missed"}[row["met"]],
        ]
        print(f"| {' | '.join(cells)} |")
    targets = {"of_floor": of_floor, "of_smtp_sink": of_sink, "tail_of_floor": tail_factor}
    print(f"\n<!-- {json.dumps({'workload': name, 'targets': targets, 'servers': truth})} -->")


results, ticks_a_second = sys.argv[1:]
for row in sorted(Path(results).glob("*/row")):
    table(row.parent, 1 / int(ticks_a_second))

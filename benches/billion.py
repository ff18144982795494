#!/usr/bin/env python3
"""Works out a fleet for so many messages per day, and checks the queueing by simulation.

    benches/billion.py [--messages-per-day N] [--server-us MICROSECONDS] [--stream-each-ms MS] ... [--plan]

Every constant has an option; docs/BILLION.md says where each comes from. The simulations are deterministic: the same
output each time. A formula that a simulation does not bear out is an error.
"""

import argparse
import heapq
import math
import random


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--messages-per-day", type=float, default=1e9, metavar="M")
    add("--peak", type=float, default=5, metavar="p", help="the peak, times the average")
    add("--zones", type=int, default=3, metavar="Z")
    add("--nodes", type=int, default=9, metavar="n", help="nodes of the cluster, the same number in each zone")
    add("--use", type=float, default=0.6, metavar="u", help="how much of a capacity is planned with, a zone lost")
    add("--size", type=float, default=2048, metavar="s", help="bytes of a message in the stream")
    add("--targets", type=float, default=1, metavar="f", help="targets of a message")
    add("--deferred", type=float, default=0.05, metavar="d", help="further attempts for each message")
    add("--replicas", type=int, default=3, metavar="R")
    add("--server-us", type=float, default=11.7, metavar="t", help="processor time of a server that receives a message and discards it")
    add("--spool-us", type=float, default=92, metavar="T", help="the same for digest, spool, log and delivery")
    add("--cores", type=int, default=8, metavar="c", help="cores of a server")
    add("--stream-first-ms", type=float, default=1.36, metavar="D", help="what a round of a stream takes")
    add("--stream-each-ms", type=float, default=0.0705, metavar="e", help="what each message in it takes")
    add("--window-minutes", type=float, default=60, metavar="w", help="duplicate_window of the streams")
    add("--id-bytes", type=float, default=985, metavar="i", help="memory of a node for each id in the window")
    add("--target-ms", type=float, default=50, metavar="L", help="how long a target takes for a message")
    add("--outage-hours", type=float, default=4, metavar="H", help="how long a target is away")
    add("--share", type=float, default=0.1, metavar="q", help="the part of the mail that is for it")
    add("--plan", action="store_true", help="the plan alone, without the simulations")
    return parser.parse_args()


def row(name, value, unit=""):
    print(f"{name:58} {value:>12} {unit}".rstrip())


def plan(it):
    average = it.messages_per_day / 86400
    peak = average * it.peak
    left = (it.zones - 1) / it.zones
    row("messages per second, on average: a = M / 86400", f"{average:,.0f}")
    row("at the peak: b = p a", f"{peak:,.0f}")
    cores = peak * (it.server_us + it.spool_us) / 1e6
    servers = it.zones * math.ceil(cores / (it.use * it.cores * (it.zones - 1)))
    row("busy cores at the peak: b (t + T)", f"{cores:.2f}")
    row("servers: Z ceil(b (t + T) / (u c (Z - 1)))", servers)
    publications = peak * (it.targets + it.deferred)
    each = 1e3 / it.stream_each_ms
    partitions = math.ceil(publications / (it.use * each))
    row("publications per second at the peak: k = b (f + d)", f"{publications:,.0f}")
    row("a stream's most: 1 / e", f"{each:,.0f}", "per second")
    row("partitions: P = ceil(k e / u)", partitions)
    load = publications / partitions * it.stream_each_ms / 1e3
    wait = 1.5 * it.stream_first_ms / (1 - load)
    row("median of an acknowledgement: 1.5 D / (1 - k e / P)", f"{wait:.1f}", "ms")
    row("replicas on a node: P R / n", f"{partitions * it.replicas / it.nodes:.1f}")
    gb = publications * it.size / 1e9
    row("stream to disk, all replicas, peak: k s R", f"{gb * it.replicas:.2f}", "GB per second")
    row("the same, a node: k s R / n", f"{gb * it.replicas / it.nodes * 1e3:.0f}", "MB per second")
    row("in from clients: b s", f"{peak * it.size * 8 / 1e9:.2f}", "Gbit per second")
    row("to leaders, replicas and back: k s (1 + (R - 1) + 1)",
        f"{gb * 8 * (it.replicas + 1):.2f}", "Gbit per second")
    row("out to targets: b f s", f"{peak * it.targets * it.size * 8 / 1e9:.2f}", "Gbit per second")
    row("across zones: k s ((R - 1) + 2 (Z - 1) / Z)",
        f"{gb * 8 * (it.replicas - 1 + 2 * left):.2f}", "Gbit per second")
    ids = publications * it.window_minutes * 60 * it.replicas / it.nodes
    row("ids in a node's memory: 60 w k R / n", f"{ids:,.0f}")
    row("their memory: 60 w k R i / n", f"{ids * it.id_bytes / 1e9:.1f}", "GB")
    flying = peak * it.targets * it.target_ms / 1e3
    concurrency = math.ceil(flying + 3 * math.sqrt(flying))
    row("deliveries under way: l = b f L", f"{flying:,.0f}")
    row("concurrency of all targets: l + 3 sqrt(l)", f"{concurrency:,}")
    away = average * it.share * it.outage_hours * 3600
    row("messages that wait for a target that was away: a q H", f"{away:,.0f}")
    row("their bytes, all replicas: a q H s R", f"{away * it.size * it.replicas / 1e9:,.0f}", "GB")
    print()


def check(name, formula, simulated, tolerance):
    off = abs(simulated - formula) / formula
    row(name, f"{formula:,.3f}", f"simulated {simulated:,.3f}, {off * 100:.1f} % off")
    if off > tolerance:
        raise SystemExit(f"{name}: the formula is {off * 100:.0f} % off, {tolerance * 100:.0f} % are allowed")


def rounds(rate, first, each, seconds, dice):
    """A stream that takes all that wait, in a round, and answers them together. The median and mean of the answers."""
    now, next_arrival, waiting, answers, sizes = 0.0, dice.expovariate(rate), [], [], []
    while now < seconds:
        while next_arrival <= now:
            waiting.append(next_arrival)
            next_arrival += dice.expovariate(rate)
        if not waiting:
            now = next_arrival
            continue
        now += first + each * len(waiting)
        answers.extend(now - came for came in waiting)
        sizes.append(len(waiting))
        waiting = []
    answers.sort()
    return answers[len(answers) // 2], sum(sizes) / len(sizes)


def erlang_c(load, places):
    """The chance that all places are taken."""
    blocked = 1.0
    for number in range(1, places + 1):
        blocked = load * blocked / (number + load * blocked)
    return blocked / (1 - load / places * (1 - blocked))


def places(rate, lasts, count, number, dice):
    """The part of so many messages that found no place free."""
    free_at, now, waited = [0.0] * count, 0.0, 0
    for _ in range(number):
        now += dice.expovariate(rate)
        start = max(now, free_at[0])
        waited += start > now
        heapq.heapreplace(free_at, start + dice.expovariate(1 / lasts))
    return waited / number


def backlog(rate, capacity, outage, seconds, dice):
    """A target that is away at first, whose mail is tried again every 60 s: how long afterwards a message waits for it."""
    due, now = [], dice.expovariate(rate)
    while now < seconds:
        due.append(now)
        now += dice.expovariate(rate)
    heapq.heapify(due)
    free, over = 0.0, 0.0
    while due:
        when = heapq.heappop(due)
        if when < outage:
            # Ten percent more or less, so that they do not come back together.
            heapq.heappush(due, when + 60 * dice.uniform(0.9, 1.1))
            continue
        start = max(when, free)
        free = start + 1 / capacity
        if start - when > 1:
            over = free
    return over - outage


def simulate(it):
    dice = random.Random(1)
    first, each = it.stream_first_ms / 1e3, it.stream_each_ms / 1e3
    print("A stream, by how much of its most is asked of it:")
    for use in (0.3, 0.6, 0.9):
        rate = use / each
        median, size = rounds(rate, first, each, 60, dice)
        check(f"  {use:.1f}: median of an acknowledgement, ms", 1.5 * first / (1 - use) * 1e3, median * 1e3, 0.1)
        check(f"  {use:.1f}: messages in a round: k D / (1 - k e)", rate * first / (1 - use), size, 0.1)
    print("A target, by its concurrency: the part of its mail that waits for a place (Erlang C)")
    rate, lasts = 1000, it.target_ms / 1e3
    load = rate * lasts
    for margin in (1, 2):
        count = math.ceil(load + margin * math.sqrt(load))
        chance = erlang_c(load, count)
        check(f"  l + {margin} sqrt(l) = {count}", chance, places(rate, lasts, count, 400_000, dice), 0.15)
    print("A target that was away for 10 minutes, at 50 per second, and then takes 100:")
    lasted = backlog(50, 100, 600, 2400, dice)
    check("  seconds until nobody waits: H q a / (v - q a)", 600 * 50 / (100 - 50), lasted, 0.15)
    print("A zone of three lost at the peak:")
    for use in (0.6, 0.8):
        left = use * 3 / 2
        row(f"  what is left is used to (planned {use:.1f} of all)", f"{left:.2f}", "" if left < 1 else "too little: clients wait")


def main():
    it = arguments()
    plan(it)
    if not it.plan:
        simulate(it)


main()

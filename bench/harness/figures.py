"""Turns costs into figures: medians, rates, ratios, and how they stand to the aims."""

import statistics

# (figure, comparison, target, unit, what is asked). Figures are keys of `of_all`'s "named".
AIMS = (
    ("a/nginx", ">=", 200_000, "lines/CPU-s", "nginx lines per CPU-second with (a)"),
    ("a/nginx", ">=", 100_000, "lines/CPU-s", "the same, the least"),
    ("b over a/nginx", ">=", 0.5, "×", "(b) to (a) on the nginx log"),
    ("over fail2ban", ">=", 20, "×", "sshd lines per CPU-second to fail2ban-regex"),
    ("over fail2ban", ">=", 60, "×", "the same, to what people were once promised"),
    ("peak a", "<=", 50, "MiB", "peak memory with (a), all logs but that of two million keys"),
    ("peak a/keys", "<=", 50, "MiB", "peak memory with (a), two million keys"),
    ("start a", "<=", 0.150, "s", "CPU time to the first parsed line with (a)"),
    ("start b", "<=", 1.0, "s", "CPU time to the first parsed line with (b)"),
)


def spread(values):
    """Median, least and most."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def of(contender, by_id):
    """The figures of one contender, or `None` where it was not measured."""
    if not contender.costs:
        return None
    figures = {
        "lines": contender.lines,
        "runs": len(contender.costs),
        "cpu_seconds": spread([cost.cpu for cost in contender.costs]),
        "wall_seconds": spread([cost.wall for cost in contender.costs]),
        "peak_mib": spread([cost.peak_kib / 1024 for cost in contender.costs]),
    }
    if contender.said and contender.said[-1] is not None:
        figures["told"] = contender.said[-1]
    if contender.lines > 1:
        figures["lines_per_cpu_second"] = spread([contender.lines / cost.cpu for cost in contender.costs])
        start = by_id.get(contender.start)
        if start is not None and start.costs:
            fixed = statistics.median(cost.cpu for cost in start.costs)
            # Where a log is so short that the start is all there is, a rate without it means nothing.
            if all(cost.cpu > 1.5 * fixed for cost in contender.costs):
                rates = [(contender.lines - 1) / (cost.cpu - fixed) for cost in contender.costs]
                figures["lines_per_cpu_second_after_start"] = spread(rates)
        yardstick = by_id["yardstick/deflate"]
        pace = dict(zip(yardstick.rounds, yardstick.costs))
        rates = [contender.lines / cost.cpu * pace[at].cpu for at, cost in zip(contender.rounds, contender.costs)
                 if at in pace]
        if rates:
            figures["lines_per_yardstick"] = spread(rates)
    return figures


def of_all(contenders):
    """All figures by contender, ratios, and those that the aims name."""
    by_id = {contender.id: contender for contender in contenders}
    measured = {id: figures for id in by_id if (figures := of(by_id[id], by_id)) is not None}

    def rate(id, key="lines_per_cpu_second"):
        return measured.get(id, {}).get(key, {}).get("median")

    ratios = []

    def ratio(name, over, under):
        found = {}
        for key in ("lines_per_cpu_second", "lines_per_cpu_second_after_start"):
            if rate(over, key) and rate(under, key):
                found[key] = rate(over, key) / rate(under, key)
        if found:
            ratios.append({"ratio": name, **found})
        return found.get("lines_per_cpu_second")

    named = {"a/nginx": rate("testudo/a/nginx")}
    for kind in ("nginx", "longtail", "ssh", "mixed", "keys"):
        value = ratio(f"(b) to (a), {kind}", f"testudo/b/{kind}", f"testudo/a/{kind}")
        if kind == "nginx":
            named["b over a/nginx"] = value
    to_fail2ban = [
        ratio("testudo (a) to fail2ban-regex, ssh", "testudo/a/ssh", "fail2ban/ssh"),
        ratio("testudo (a) to fail2ban-regex --no-check-all, ssh", "testudo/a/ssh", "fail2ban/ssh-first-match"),
    ]
    # Against the faster of the two.
    named["over fail2ban"] = min((value for value in to_fail2ban if value), default=None)
    for rule_set in ("a", "b"):
        for kind in ("nginx", "ssh"):
            ratio(f"testudo to crowdsec, ({rule_set}), {kind}", f"testudo/{rule_set}/{kind}", f"crowdsec/{rule_set}/{kind}")
        start = measured.get(f"testudo/{rule_set}/start")
        named[f"start {rule_set}"] = start and start["cpu_seconds"]["median"]
    peaks = [measured[id]["peak_mib"]["median"] for id in measured if id.startswith("testudo/a/") and not id.endswith("/keys")]
    named["peak a"] = max(peaks, default=None)
    named["peak a/keys"] = measured.get("testudo/a/keys", {}).get("peak_mib", {}).get("median")
    return {"measured": measured, "ratios": ratios, "aims": [aim(named, *each) for each in AIMS]}


def aim(named, figure, comparison, target, unit, asked):
    value = named.get(figure)
    met = None if value is None else (value >= target if comparison == ">=" else value <= target)
    return {"asked": asked, "target": f"{'at least' if comparison == '>=' else 'at most'} {target:,} {unit}",
            "value": value, "unit": unit, "met": met}

"""Writes figures for people: aligned tables for a terminal, the same tables in Markdown."""

import platform
import os
import re


def machine():
    """The machine, as far as figures depend on it."""
    model = platform.machine()
    try:
        with open("/proc/cpuinfo") as info:
            found = re.search(r"(?m)^model name\s*:\s*(.+)$", info.read())
            model = found.group(1).strip() if found else model
    except OSError:
        pass
    return {"cores": len(os.sched_getaffinity(0)), "model": model}


def number(value):
    """A figure with about three digits."""
    if value is None:
        return "–"
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}" if value >= 1 else f"{value:.3f}"


def spread(figures):
    """Median with least and most."""
    if figures is None:
        return "–"
    return f"{number(figures['median'])} ({number(figures['min'])}–{number(figures['max'])})"


def tables(results):
    """Title, note, heads, rows for each table."""
    measured = results["measured"]
    yes = {True: "yes", False: "NO", None: "not measured"}
    yield ("Aims", None, ["what", "aim", "measured", "met"], [
        [a["asked"], a["target"], f"{number(a['value'])} {a['unit']}" if a["value"] is not None else "–", yes[a["met"]]]
        for a in results["aims"]
    ])
    yield ("Lines per CPU-second", "Median (least–most). “After start” leaves out what one line costs; a yardstick "
           "is the CPU time of the fixed work `deflate` in the same round.",
           ["contender", "lines", "runs", "lines/CPU-s", "after start", "lines/yardstick", "CPU s", "wall s", "peak MiB", "told"], [
        [id, f"{f['lines']:,}", str(f["runs"]), spread(f["lines_per_cpu_second"]),
         spread(f.get("lines_per_cpu_second_after_start")), spread(f.get("lines_per_yardstick")), spread(f["cpu_seconds"]),
         number(f["wall_seconds"]["median"]), spread(f["peak_mib"]), "" if id.startswith("testudo/") else f.get("told", "")]
        for id, f in measured.items() if f["lines"] > 1
    ])
    yield ("To the first parsed line", "The whole CPU time of a run over one line.",
           ["contender", "runs", "CPU s", "wall s", "peak MiB"], [
        [id, str(f["runs"]), spread(f["cpu_seconds"]), spread(f["wall_seconds"]), spread(f["peak_mib"])]
        for id, f in measured.items() if f["lines"] == 1
    ])
    yield ("Ratios", "Of medians.", ["what", "of lines/CPU-s", "after start"], [
        [r["ratio"], number(r.get("lines_per_cpu_second")), number(r.get("lines_per_cpu_second_after_start"))]
        for r in results["ratios"]
    ])
    yield ("Yardsticks", "Fixed work in each round; where they vary much, the machine was busy.", ["yardstick", "runs", "CPU s"], [
        [id, str(f["runs"]), spread(f["cpu_seconds"])] for id, f in measured.items() if f["lines"] == 0
    ])
    yield ("Checks", None, ["check", "good", "detail"], [
        [c["id"], yes[c["good"]], "; ".join([c["detail"], *c["notes"]])] for c in results["checks"]
    ])
    yield ("Left out", "What could not be measured.", ["what", "why"], [list(pair) for pair in results["left_out"]])
    for rule_set, told in results["crowdsec_rules"].items():
        loaded = ", ".join(f"{count} {kind}" for kind, count in told["loaded"].items())
        rows = [[name, "an older form of it runs", why] for name, why in sorted(told["older"].items())]
        rows += [[name, "left out", why] for name, why in sorted(told["refused"].items())]
        yield (f"Rules that crowdsec refuses, ({rule_set})", f"It runs {loaded}.", ["rule", "so", "why"], rows)


def heading(results):
    """Lines about the run."""
    machine, settings = results["machine"], results["settings"]
    yield f"{machine['cores']} cores, {machine['model']}"
    yield ", ".join(f"{name} {version}" for name, version in results["versions"].items())
    yield (f"{settings['rounds']} interleaved rounds ({settings['slow_rounds']} for crowdsec) in {settings['seconds']:.0f} s; "
           f"rule sets: (a) {', '.join(settings['sets']['a'])}; (b) the whole hub")


def text(results):
    """For a terminal."""
    out = list(heading(results))
    for title, note, heads, rows in tables(results):
        if not rows:
            continue
        out += ["", title.upper()]
        widths = [max(len(row[at]) for row in [heads, *rows]) for at in range(len(heads))]
        for row in [heads, *rows]:
            out.append("  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())
    return "\n".join(out) + "\n"


def markdown(results):
    """For a file."""
    out = ["# Results", "", "Written by `bench/run --write`; [README.md](README.md) says what is measured and how.", ""]
    out += [f"- {line}" for line in heading(results)]
    for title, note, heads, rows in tables(results):
        if not rows:
            continue
        out += ["", f"## {title}", ""]
        out += [note, ""] if note else []
        out.append("| " + " | ".join(heads) + " |")
        out.append("|" + "---|" * len(heads))
        out += ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join(out) + "\n"

# SPDX-License-Identifier: MIT
"""The results of tests/bench/bytes as Markdown."""


def megabytes(count):
    return f"{count / 1e6:.2f}" if count >= 9950 else f"{count / 1e6:.4f}"


def cell(row):
    if row is None:
        return "–"
    if "failed" in row:
        return f"failed ({row['failed']})"
    return row.get("not_run") or megabytes(row["sent_bytes"])


def smallest(rows, names):
    """(bytes, name) of the smallest of the named rows that were measured, or None."""
    found = [(rows[name]["sent_bytes"], name) for name in names if "sent_bytes" in rows.get(name, {})]
    return min(found) if found else None


def table(heading, lines):
    yield "| " + " | ".join(heading) + " |"
    yield "|---|" + "--:|" * (len(heading) - 1)
    for line in lines:
        yield "| " + " | ".join(line) + " |"
    yield ""


def short(row):
    """A cell without its reason."""
    return "failed" if row and "failed" in row else cell(row)


def sent_table(pairs, names):
    lines = [[name, megabytes(pair["image_bytes"]), *(short(pair["rows"].get(tool)) for tool in names)]
             for name, pair in pairs.items()]
    return table(["MB sent", "image", *names], lines)


def against(ours, other):
    if not other:
        return ["–", "–"]
    return [f"{megabytes(other[0])} ({other[1]})", f"{ours['sent_bytes'] / other[0]:.2f}"]


def comparison(pairs, first, updaters, deltas):
    lines = []
    for name, pair in pairs.items():
        ours = pair["rows"].get(first, {})
        if "sent_bytes" in ours:
            lines.append([name, megabytes(ours["sent_bytes"]), *against(ours, smallest(pair["rows"], updaters)),
                          *against(ours, smallest(pair["rows"], deltas))])
    return table(["pair", first, "smallest updater", "ours of it", "smallest delta of the pair", "ours of it"], lines)


def kinds(plan):
    """What the plan says is fetched, by kind."""
    return "; ".join(f"{key.removesuffix('_bytes')} {megabytes(value)}" for key, value in plan.items()
                     if key.endswith("_bytes") and key not in ("image_bytes", "download_bytes") and value)


def costs(pairs, ours):
    lines = []
    for name, pair in pairs.items():
        for tool in ours:
            row = pair["rows"].get(tool, {})
            if "plan" not in row:
                continue
            published = sum(row["published_bytes"].values())
            lines.append([f"{name}, {tool.removeprefix('moonsinter ').replace('moonsinter', 'with frames and patches')}",
                          f"{row['body_bytes']:,}", "yes" if row["plan_is_exact"] else f"no: {row['planned_bytes']:,}",
                          str(row["requests"]), kinds(row["plan"]), f"{row['seconds']:.1f}",
                          f"{row['cpu_seconds']:.1f}", f"{row['peak_kib'] / 1024:.1f}",
                          f"{row['generate_seconds']:.1f}", f"{row['generate_cpu_seconds']:.1f}",
                          f"{row['generate_peak_kib'] / 1024:.0f}", megabytes(published),
                          f"{row['patch_speed']['output_mb_per_cpu_second']:.0f}" if "patch_speed" in row else "–"])
    return table(["moonsinter", "bytes without headers", "as planned", "requests", "MB fetched by kind", "clone s", "CPU s",
                  "peak MiB", "generate s", "CPU s", "peak MiB", "published MB", "patched MB/s of a core"], lines)


def failures(pairs):
    for name, pair in pairs.items():
        for tool, row in pair["rows"].items():
            if "failed" in row:
                yield f"- {name}, {tool}: {row['failed']}"


def markdown(pairs, ours, peers):
    updaters = [peer for peer in peers.UPDATERS if any(peer in pair["rows"] for pair in pairs.values())]
    deltas = [peer for peer in peers.DELTAS if any(peer in pair["rows"] for pair in pairs.values())]
    measured = [tool for tool in ours if any(tool in pair["rows"] for pair in pairs.values())]
    lines = [*sent_table(pairs, measured + updaters + deltas)]
    if measured:
        lines += comparison(pairs, measured[0], updaters, deltas)
        lines += costs(pairs, measured)
    lines += failures(pairs)
    return "\n".join(lines) + "\n"

"""Stacks as a flame graph: a rectangle a function, as wide as its share of the time, its callees on top of it."""

from html import escape

WIDTH, ROW, MARGIN = 1400, 17, 10
# Narrower than this, a rectangle shows nothing.
LEAST = 0.8
KINDS = [
    ("kernel", "#9aa7b8", "the kernel"),
    ("ours", "#e8833a", "the gatekeeper"),
    ("store", "#c9a227", "SQLite and the driver"),
    ("memory", "#c8574f", "memory asked for and given back"),
    ("library", "#8fb573", "libraries: HTTP, the runtime"),
    ("thread", "#d9d9d9", "threads"),
]


class Frame:
    def __init__(self, name):
        self.name, self.samples, self.callees = name, 0, {}

    def add(self, stack, samples):
        self.samples += samples
        if stack:
            self.callees.setdefault(stack[0], Frame(stack[0])).add(stack[1:], samples)

    def depth(self, least):
        return 1 + max((callee.depth(least) for callee in self.callees.values() if callee.samples >= least), default=0)


def drawn(stacks, title, kind_of):
    """`stacks` are counts by tuples of names, outermost first; `kind_of` says which of `KINDS` a name is, by its caller's."""
    root = Frame("all")
    for stack, samples in stacks.items():
        root.add(stack, samples)
    scale = (WIDTH - 2 * MARGIN) / max(root.samples, 1)
    least = LEAST / scale
    height = root.depth(least) * ROW + 2 * MARGIN + 56
    colours = {kind: colour for kind, colour, _ in KINDS}
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="DejaVu Sans Mono, Menlo, monospace" font-size="11">',
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>',
        f'<text x="{MARGIN}" y="24" font-size="15">{escape(title)}</text>',
    ]
    left = MARGIN
    for _, colour, what in KINDS:
        lines.append(f'<rect x="{left}" y="36" width="12" height="12" fill="{colour}"/><text x="{left + 17}" y="46">{what}</text>')
        left += 40 + 6.7 * len(what)

    def draw(frame, left, level, caller):
        kind = kind_of(frame.name, caller)
        width, top = frame.samples * scale, height - MARGIN - (level + 1) * ROW
        fits = int((width - 6) / 6.7)
        label = frame.name if len(frame.name) <= fits else frame.name[: fits - 1] + "…" if fits > 3 else ""
        share = f"{frame.name}, {frame.samples / root.samples:.1%}"
        lines.append(
            f'<g><title>{escape(share)}</title><rect x="{left:.1f}" y="{top}" width="{max(width - 0.5, 0.3):.1f}" height="{ROW - 1}" '
            f'fill="{colours[kind]}"/>'
            + (f'<text x="{left + 3:.1f}" y="{top + 12}">{escape(label)}</text>' if label else "")
            + "</g>"
        )
        for callee in sorted(frame.callees.values(), key=lambda callee: callee.name):
            if callee.samples >= least:
                draw(callee, left, level + 1, kind)
            left += callee.samples * scale

    draw(root, MARGIN, 0, "")
    return "\n".join([*lines, "</svg>", ""])

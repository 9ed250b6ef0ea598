"""Draws the confusion of a classifier and the loss of its training."""
import csv
import os
import sys
from xml.sax.saxutils import escape

confusion, report, figure = sys.argv[1:]
with open(confusion, encoding="utf-8", newline="") as f:
    cells = [(r["actual"], r["predicted"], int(r["count"])) for r in csv.DictReader(f)]
with open(os.path.join(report, "loss.csv"), encoding="utf-8", newline="") as f:
    losses = [float(r["loss"]) for r in csv.DictReader(f)]

names = sorted({c[0] for c in cells})
size, left, top = 70, 110, 60
most = max(c[2] for c in cells) or 1
out = [
    f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + size * len(names) + 360}" height="{top + size * len(names) + 40}" font-family="sans-serif" font-size="13">',
    '<rect width="100%" height="100%" fill="white"/>',
    f'<text x="{left}" y="24" font-weight="bold">Actual (rows) and predicted (columns)</text>',
]
for i, name in enumerate(names):
    out.append(f'<text x="{left - 8}" y="{top + size * i + size / 2 + 4}" text-anchor="end">{escape(name)}</text>')
    out.append(f'<text x="{left + size * i + size / 2}" y="{top - 8}" text-anchor="middle">{escape(name)}</text>')
for actual, predicted, count in cells:
    x, y = left + size * names.index(predicted), top + size * names.index(actual)
    dark = count > most / 2
    out.append(f'<rect x="{x}" y="{y}" width="{size - 2}" height="{size - 2}" fill="rgb(31,119,180)" fill-opacity="{0.06 + 0.94 * count / most:.3f}"/>')
    out.append(f'<text x="{x + size / 2 - 1}" y="{y + size / 2 + 4}" text-anchor="middle" fill="{"white" if dark else "black"}">{count}</text>')
x0, width, height = left + size * len(names) + 60, 270, size * len(names) - 2
highest = max(losses)
points = " ".join(
    f"{x0 + width * i / max(1, len(losses) - 1):.1f},{top + height * (1 - v / highest):.1f}" for i, v in enumerate(losses))
out += [
    f'<text x="{x0}" y="24" font-weight="bold">Loss in training</text>',
    f'<path d="M{x0} {top}V{top + height}H{x0 + width}" fill="none" stroke="black"/>',
    f'<polyline points="{points}" fill="none" stroke="rgb(214,39,40)" stroke-width="2"/>',
    f'<text x="{x0 - 6}" y="{top + 5}" text-anchor="end">{highest:.2f}</text>',
    f'<text x="{x0 + width}" y="{top + height + 18}" text-anchor="end">{len(losses)} epochs</text>',
    "</svg>",
]
with open(figure, "w", encoding="utf-8") as f:
    f.write("\n".join(out) + "\n")

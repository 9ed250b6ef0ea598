"""Multinomial logistic regression by gradient descent."""
import argparse
import csv
import json
import math
import os

parser = argparse.ArgumentParser()
parser.add_argument("--data", required=True)
parser.add_argument("--weights")
parser.add_argument("--label", required=True)
parser.add_argument("--epochs", type=int, required=True)
parser.add_argument("--rate", type=float, default=0.5)
parser.add_argument("--model", required=True)
parser.add_argument("--loss")
parser.add_argument("--report")
args = parser.parse_args()


def is_number(text):
    try:
        float(text)
        return True
    except ValueError:
        return False


with open(args.data, encoding="utf-8", newline="") as f:
    rows = list(csv.DictReader(f))
if not rows or args.label not in rows[0]:
    raise SystemExit(f"the table has no column {args.label!r} or no rows")
features = [c for c in rows[0] if c != args.label and all(is_number(r[c]) for r in rows)]
classes = sorted({r[args.label] for r in rows})
weights = [1.0] * len(rows)
if args.weights:
    with open(args.weights, encoding="utf-8") as f:
        weights = [float(line) for line in f if line.strip()]

columns = [[float(r[c]) for r in rows] for c in features]
means = [sum(c) / len(c) for c in columns]
scales = [math.sqrt(sum((x - m) ** 2 for x in c) / len(c)) or 1.0 for c, m in zip(columns, means)]
points = [[1.0] + [(float(r[c]) - m) / s for c, m, s in zip(features, means, scales)] for r in rows]
targets = [classes.index(r[args.label]) for r in rows]

theta = [[0.0] * (len(features) + 1) for _ in classes]
total = sum(weights)
losses = []
for _ in range(args.epochs):
    gradient = [[0.0] * len(row) for row in theta]
    loss = 0.0
    for x, y, w in zip(points, targets, weights):
        scores = [sum(a * b for a, b in zip(t, x)) for t in theta]
        top = max(scores)
        exps = [math.exp(s - top) for s in scores]
        norm = sum(exps)
        loss -= w * math.log(exps[y] / norm)
        for k, e in enumerate(exps):
            error = w * (e / norm - (k == y))
            for j, v in enumerate(x):
                gradient[k][j] += error * v
    for k, row in enumerate(gradient):
        for j, g in enumerate(row):
            theta[k][j] -= args.rate * g / total
    losses.append(loss / total)

model = {"label": args.label, "classes": classes, "features": features, "means": means, "scales": scales, "theta": theta}
with open(args.model, "w", encoding="utf-8") as f:
    json.dump(model, f, indent=1)
if args.loss:
    with open(args.loss, "w", encoding="utf-8") as f:
        f.write(f"{losses[-1]:.6f}\n")
if args.report:
    with open(os.path.join(args.report, "loss.csv"), "w", encoding="utf-8") as f:
        f.write("epoch,loss\n")
        f.writelines(f"{i + 1},{x:.6f}\n" for i, x in enumerate(losses))
print(f"{len(rows)} rows, {len(features)} features, {len(classes)} classes: loss {losses[-1]:.4f} after {args.epochs} epochs")

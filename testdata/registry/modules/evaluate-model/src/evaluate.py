"""Accuracy and confusion of a classifier on a table."""
import argparse
import collections
import csv
import json

parser = argparse.ArgumentParser()
parser.add_argument("--model", required=True)
parser.add_argument("--data", required=True)
parser.add_argument("--accuracy", required=True)
parser.add_argument("--confusion", required=True)
args = parser.parse_args()

with open(args.model, encoding="utf-8") as f:
    model = json.load(f)
with open(args.data, encoding="utf-8", newline="") as f:
    rows = list(csv.DictReader(f))


def predict(row):
    x = [1.0] + [(float(row[c]) - m) / s for c, m, s in zip(model["features"], model["means"], model["scales"])]
    scores = [sum(a * b for a, b in zip(t, x)) for t in model["theta"]]
    return model["classes"][scores.index(max(scores))]


pairs = collections.Counter((r[model["label"]], predict(r)) for r in rows)
right = sum(n for (actual, predicted), n in pairs.items() if actual == predicted)
with open(args.accuracy, "w", encoding="utf-8") as f:
    f.write(f"{right / len(rows):.4f}\n")
with open(args.confusion, "w", encoding="utf-8") as f:
    f.write("actual,predicted,count\n")
    for a in model["classes"]:
        for p in model["classes"]:
            f.write(f"{a},{p},{pairs[a, p]}\n")
print(f"{right} of {len(rows)} right")

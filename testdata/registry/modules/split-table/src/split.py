"""Splits a table at random, the same way for the same seed."""
import argparse
import csv
import random

parser = argparse.ArgumentParser()
parser.add_argument("--table", required=True)
parser.add_argument("--share", type=float, required=True)
parser.add_argument("--seed", type=int, required=True)
parser.add_argument("--train", required=True)
parser.add_argument("--test", required=True)
args = parser.parse_args()

with open(args.table, encoding="utf-8", newline="") as f:
    header, *rows = csv.reader(f)
random.Random(args.seed).shuffle(rows)
cut = round(len(rows) * args.share)
for path, part in ((args.test, rows[:cut]), (args.train, rows[cut:])):
    with open(path, "w", encoding="utf-8", newline="") as f:
        csv.writer(f, lineterminator="\n").writerows([header, *part])
print(f"{len(rows) - cut} rows to train on, {cut} to test on")

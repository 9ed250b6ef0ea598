"""Counts the words of a text."""
import argparse
import collections
import csv
import re

parser = argparse.ArgumentParser()
parser.add_argument("--text", required=True)
parser.add_argument("--least", type=int, required=True)
parser.add_argument("--counts", required=True)
parser.add_argument("--total", required=True)
args = parser.parse_args()

with open(args.text, encoding="utf-8") as f:
    words = [w for w in re.findall(r"\w+", f.read().lower()) if len(w) >= args.least]
counts = collections.Counter(words)

with open(args.counts, "w", encoding="utf-8", newline="") as f:
    writer = csv.writer(f)
    writer.writerow(["word", "count"])
    writer.writerows(sorted(counts.items(), key=lambda item: (-item[1], item[0])))
with open(args.total, "w", encoding="utf-8") as f:
    f.write(f"{len(words)}\n")
print(f"{len(words)} words, {len(counts)} different ones")

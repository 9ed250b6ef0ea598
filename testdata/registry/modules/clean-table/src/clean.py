"""Drops the rows of a table that miss a value."""
import argparse
import csv

parser = argparse.ArgumentParser()
parser.add_argument("--table", required=True)
parser.add_argument("--clean", required=True)
parser.add_argument("--kept", required=True)
parser.add_argument("--dropped", required=True)
args = parser.parse_args()

with open(args.table, encoding="utf-8", newline="") as f:
    rows = list(csv.reader(f))
header, body = rows[0], rows[1:]
clean = [r for r in body if len(r) == len(header) and all(cell.strip() for cell in r)]

with open(args.clean, "w", encoding="utf-8", newline="") as f:
    csv.writer(f, lineterminator="\n").writerows([header, *clean])
with open(args.kept, "w", encoding="utf-8") as f:
    f.write(f"{len(clean)}\n")
with open(args.dropped, "w", encoding="utf-8") as f:
    f.write(f"{len(body) - len(clean)}\n")
print(f"kept {len(clean)} of {len(body)} rows")

"""Writes the sum and the product of two numbers."""
import argparse
import json

parser = argparse.ArgumentParser()
parser.add_argument("--first", type=json.loads, required=True)
parser.add_argument("--second", type=json.loads, required=True)
parser.add_argument("--sum", required=True)
parser.add_argument("--product", required=True)
args = parser.parse_args()

for path, value in ((args.sum, args.first + args.second), (args.product, args.first * args.second)):
    with open(path, "w", encoding="utf-8") as f:
        f.write(f"{value}\n")

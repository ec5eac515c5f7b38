#!/usr/bin/env python3
"""Prints the table of docs/chat_templates.md from the report that chat_template_oracle_test writes.

Usage: make_table.py REPORT    (ROWMAX_TEMPLATE_DIR and ROWMAX_TEMPLATE_REPORT make the test write it)
"""
import json
import sys


def main():
    rows = json.load(open(sys.argv[1], encoding="utf-8"))
    print("| template | equal | both refuse | refused here alone | different | why |\n|---|--:|--:|--:|--:|---|")
    for row in rows:
        why = row["problem"].replace("|", "\\|").replace("\n", " ")
        print(f"| {row['name']} | {row['equal']} | {row['both_refuse']} | {row['unsupported']} | {row['different']} | {why} |")
    total = [sum(row[key] for row in rows) for key in ("equal", "both_refuse", "unsupported", "different")]
    print(f"| **{len(rows)} templates** | {total[0]} | {total[1]} | {total[2]} | {total[3]} | |")


if __name__ == "__main__":
    main()

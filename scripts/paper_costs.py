"""Print the papers whose tests take longest, from the reports of test runs.

A report is what pytest writes with ``--junitxml``:

    pytest --junitxml=test.xml
    pytest -m slow --junitxml=slow.xml
    python scripts/paper_costs.py test.xml slow.xml

A test belongs to a paper if its file is named after the paper or after one of its methods, losses, tasks or decoding
methods, or if one of its parameters is such a name. A test of several papers counts for each of them.
"""

from __future__ import annotations

import argparse
import re
from collections import defaultdict
from pathlib import Path
from xml.etree import ElementTree

from counterpoint import catalog

BARS = {"default": 4.0, "slow": 15.0}
"""Seconds that the tests of one paper may take."""


def names_of(paper: catalog.Paper) -> set[str]:
    """Return the names that tests of a paper carry."""
    modules = {symbol.partition(":")[0].rpartition(".")[2] for symbol in paper.symbols}
    return {paper.slug, *(module.strip("_").replace("_", "-") for module in modules)}


def tests(report: Path) -> list[tuple[str, set[str], float]]:
    """Return the tests of a report: what each is called, the names in it, and its seconds."""
    cases = []
    for case in ElementTree.parse(report).iter("testcase"):
        label = f"{case.get('classname', '')}::{case.get('name', '')}"
        file = case.get("classname", "").rpartition(".")[2].removeprefix("test_").replace("_", "-")
        parameters = re.findall(r"\[(.*)\]", case.get("name", ""))
        # Parameters are joined by dashes, which names have themselves.
        words = {part for text in parameters for word in re.split("[,= ]", text) for part in parts(word)}
        cases.append((label, {file, *words}, float(case.get("time", 0))))
    return cases


def parts(text: str) -> set[str]:
    """Return every run of words of a parameter's text, joined by dashes.

    >>> sorted(parts("True-poly-view"))
    ['True', 'True-poly', 'True-poly-view', 'poly', 'poly-view', 'view']
    """
    words = text.split("-")
    ends = range(1, len(words) + 1)
    return {"-".join(words[start:end]) for end in ends for start in range(end)}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("report", type=Path, nargs="+", help="a file that pytest wrote with --junitxml")
    parser.add_argument("--most", type=int, default=20, help="papers to print")
    arguments = parser.parse_args()
    cases = [case for report in arguments.report for case in tests(report)]
    costs: dict[str, list[tuple[float, str]]] = defaultdict(list)
    for paper in catalog.papers():
        names = names_of(paper)
        costs[paper.slug] = [(seconds, label) for label, words, seconds in cases if words & names]
    totals = {slug: sum(seconds for seconds, _ in tests_of) for slug, tests_of in costs.items()}
    print(f"{'paper':34} {'seconds':>8}  longest test")
    for slug in sorted(totals, key=lambda slug: -totals[slug])[: arguments.most]:
        seconds, label = max(costs[slug], default=(0.0, ""))
        print(f"{slug:34} {totals[slug]:8.1f}  {seconds:.1f} s {label.rpartition('.')[2]}")
    bar = sum(BARS.values())
    above = sum(total > bar for total in totals.values())
    print(
        f"{above} of {len(totals)} papers take more than {bar:g} s ({BARS['default']:g} of the default tests, "
        f"{BARS['slow']:g} of the slow ones)"
    )


if __name__ == "__main__":
    main()

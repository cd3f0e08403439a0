"""The worth of a method, computed from two verdicts: against plain sampling, and against the method's rule alone."""

from __future__ import annotations

from dataclasses import dataclass

from ..schema import DecodingSummary, DifferenceSummary


@dataclass(frozen=True)
class Conclusion:
    """Two verdicts on a method, read together.

    Attributes:
        kind: ``"contrast"``: better than plain sampling and than its rule alone; ``"rule"``: better than plain sampling
            and no better than its rule alone; ``"unsettled"``: better than plain sampling, whether also than its rule
            alone is not shown; ``"worse"``: than plain sampling; ``"equal"``: to it; ``"open"``: nothing is shown.
        firm: False where a verdict that it rests on is only suggestive.
        text: the same in words.
    """

    kind: str
    firm: bool
    text: str


def conclude(
    method: str, against_plain: DifferenceSummary, against_rule: DifferenceSummary | None
) -> Conclusion:
    """Read the differences method − plain and method − rule alone (None for a method without a rule).

    >>> def found(verdict):
    ...     return DifferenceSummary.model_construct(verdict=verdict, b="plain,beta=0.1")
    >>> conclude("vcd", found("better"), found("better")).kind
    'contrast'
    >>> conclude("vcd", found("better"), found("equivalent")).text
    'vcd is better than plain sampling, and its rule alone (plain,beta=0.1) does as well at the cost of plain decoding'
    >>> conclude("vcd", found("suggestive: better"), found("no difference shown")).text
    'vcd seems better than plain sampling; whether its contrast adds to its rule alone (plain,beta=0.1) is not shown'
    """
    plain, firm = _read(against_plain)
    verb = "is" if firm else "seems"
    if plain == "worse":
        return Conclusion("worse", firm, f"{method} {verb} worse than plain sampling")
    if plain == "equivalent":
        return Conclusion(
            "equal", firm, f"{method} and plain sampling {'are' if firm else 'seem'} equivalent"
        )
    if plain != "better":
        text = f"no difference between {method} and plain sampling is shown"
        if against_rule is not None:
            rule, _ = _read(against_rule)
            if rule in {"better", "worse"}:
                text += f", though it is {rule} than its rule alone ({against_rule.b})"
        return Conclusion("open", True, text)
    text = f"{method} {verb} better than plain sampling"
    if against_rule is None:
        return Conclusion("contrast", firm, text)
    rule, rule_firm = _read(against_rule)
    name = f"its rule alone ({against_rule.b})"
    cost = " at the cost of plain decoding" if against_rule.b.startswith("plain") else ""
    also = "is" if rule_firm else "seems"
    if rule == "better":
        return Conclusion("contrast", firm and rule_firm, f"{text}, and {also} better than {name}")
    if rule == "equivalent":
        does = "does" if rule_firm else "seems to do"
        return Conclusion("rule", firm and rule_firm, f"{text}, and {name} {does} as well{cost}")
    if rule == "worse":
        does = "does" if rule_firm else "seems to do"
        return Conclusion("rule", firm and rule_firm, f"{text}, and {name} {does} better{cost}")
    return Conclusion("unsettled", firm, f"{text}; whether its contrast adds to {name} is not shown")


def answer(summary: DecodingSummary) -> list[str]:
    """Return a line on every method and main metric."""
    return [f"{c.task} {c.metric} ({c.test}): {c.text}." for c in summary.conclusions]


def _read(difference: DifferenceSummary) -> tuple[str, bool]:
    return difference.kind, difference.firm

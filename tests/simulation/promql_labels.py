"""Which labels the series of a PromQL expression have, worked out from the catalogue."""

from __future__ import annotations

from typing import Any

import promql_parser as promql

from greenai.metrics import BY_NAME, COMMON_LABELS

SCRAPED = {"job", "instance"}
"""Labels that Prometheus adds."""
OF_HISTOGRAMS = {"_bucket": {"le"}, "_sum": set(), "_count": set()}


class Unknown(AssertionError):  # noqa: N818 - a law that is broken, not an error of ours
    """A name or a label that the catalogue does not have."""


def families_of(expr: str) -> set[str]:
    """Names of the catalogue that an expression reads."""
    found = set()

    def see(node: promql.Expr) -> None:
        if isinstance(node, promql.VectorSelector):
            found.add(family_of(node.name or ""))

    promql.walk(promql.parse(expr), see)
    return found


def family_of(name: str) -> str:
    """Family that a series' name belongs to; itself where it is no part of a histogram."""
    for ending in OF_HISTOGRAMS:
        stem = name.removesuffix(ending)
        if stem != name and stem in BY_NAME and BY_NAME[stem].type == "histogram":
            return stem
    return name


def labels_of(node: Any, recorded: dict[str, set[str]] | None = None) -> set[str]:
    """Labels of the series of an expression.

    Args:
        node: Parsed.
        recorded: Labels of what recording rules make, by name.

    Raises:
        Unknown: A metric or a label does not exist where it is asked for.
    """
    match node:
        case promql.VectorSelector() | promql.MatrixSelector():
            return _selected(getattr(node, "vector_selector", node), recorded or {})
        case promql.AggregateExpr():
            inner = labels_of(node.expr, recorded)
            kept = set(node.modifier.labels) if node.modifier else set()
            _must_have(inner, kept, node)
            return inner if str(node.op) in {"topk", "bottomk"} else kept
        case promql.BinaryExpr():
            return _joined(node, recorded)
        case promql.ParenExpr() | promql.SubqueryExpr() | promql.UnaryExpr():
            return labels_of(node.expr, recorded)
        case promql.Call():
            return _called(node, recorded)
        case _:
            return set()


def _selected(node: promql.VectorSelector, recorded: dict[str, set[str]]) -> set[str]:
    name = node.name or ""
    if name in recorded:
        known = recorded[name]
    elif name == "up":
        known = SCRAPED
    else:
        family = BY_NAME.get(family_of(name))
        if family is None or (family.type == "histogram" and name == family.name):
            raise Unknown(f"the catalogue has no {name!r}")
        ending = name.removeprefix(family.name)
        known = {*COMMON_LABELS, *family.labels, *SCRAPED, *OF_HISTOGRAMS.get(ending, set())}
    _must_have(known, {matcher.name for matcher in node.matchers.matchers}, node)
    return known


def _called(node: promql.Call, recorded: dict[str, set[str]] | None) -> set[str]:
    found = set().union(*(labels_of(argument, recorded) for argument in node.args))
    if node.func.name == "label_replace":
        _must_have(found, {node.args[3].val}, node)
        return found | {node.args[1].val}
    if node.func.name == "label_join":
        _must_have(found, {one.val for one in node.args[3:]}, node)
        return found | {node.args[1].val}
    return found - {"le"} if node.func.name == "histogram_quantile" else found


def _joined(node: promql.BinaryExpr, recorded: dict[str, set[str]] | None) -> set[str]:
    left, right = labels_of(node.lhs, recorded), labels_of(node.rhs, recorded)
    modifier = node.modifier
    if modifier is None or modifier.matching is None:
        if _is_scalar(node.lhs):
            return right
        if not _is_scalar(node.rhs) and left != right:
            raise Unknown(f"{left} and {right} are matched by unlike labels in {node}")
        return left
    on = set(modifier.matching.labels)
    _must_have(left, on, node.lhs)
    _must_have(right, on, node.rhs)
    taken = set(modifier.group_labels or ())
    _must_have(right, taken, node.rhs)
    if str(node.op) in {"and", "unless"}:
        return left
    if str(modifier.card).endswith("ManyToOne"):
        return left | taken
    return on


def _is_scalar(node: Any) -> bool:
    if isinstance(node, promql.ParenExpr):
        return _is_scalar(node.expr)
    if isinstance(node, promql.BinaryExpr):
        return _is_scalar(node.lhs) and _is_scalar(node.rhs)
    if isinstance(node, promql.Call):
        return node.func.name == "time"
    return isinstance(node, promql.NumberLiteral)


def _must_have(known: set[str], asked: set[str], node: Any) -> None:
    if missing := sorted(asked - known):
        raise Unknown(f"no label {missing[0]!r} in {node}")

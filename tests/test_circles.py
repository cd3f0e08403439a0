"""No file imports in a circle, whether at its top, inside a function or for a type."""

from __future__ import annotations

import grimp


def test_no_file_imports_in_a_circle() -> None:
    graph = grimp.build_graph("counterpoint")
    circles = []
    seen: set[str] = set()
    for module in sorted(graph.modules):
        if module in seen or graph.find_children(module):
            continue  # a room's own __init__ names its files, which may name the room
        beyond = graph.find_downstream_modules(module) & graph.find_upstream_modules(module)
        circle = {other for other in beyond if not graph.find_children(other)}
        if circle - {module}:
            circles.append(sorted({module, *circle}))
            seen |= circle
    assert not circles

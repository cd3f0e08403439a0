"""No file imports in a circle, whether at its top, inside a function or for a type."""

from __future__ import annotations

import grimp
import networkx as nx


def test_no_file_imports_in_a_circle() -> None:
    found = grimp.build_graph("counterpoint", "counterpoint_reproductions")
    imports = nx.DiGraph(
        (module, other)
        for module in found.modules
        for other in found.find_modules_directly_imported_by(module)
    )
    assert len(imports) > 1000
    # A room's own __init__ names its files, which may name the room.
    rooms = {module for module in found.modules if found.find_children(module)}
    circles = [sorted(part - rooms) for part in nx.strongly_connected_components(imports)]
    assert not [circle for circle in circles if len(circle) > 1]

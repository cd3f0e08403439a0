"""The papers: what each is, where it lives, what was measured. Data only; importing it loads no torch.

>>> from counterpoint import catalog
>>> catalog.paper("siglip").title
'Sigmoid Loss for Language Image Pre-Training'
>>> len(catalog.papers())
189
"""

from __future__ import annotations

from .entries import FAMILIES, KINDS, STATUSES, Paper, find, paper, papers, reproductions

__all__ = ["FAMILIES", "KINDS", "STATUSES", "Paper", "find", "paper", "papers", "reproductions"]

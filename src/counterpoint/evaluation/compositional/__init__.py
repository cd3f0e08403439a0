"""Parts of tasks on items, which ask for more than a bag of words: squares, choices, regions.

Tasks take their items from ``PairedData.items``, so a data set that has none of a form is no data for the task. The
examples of their scores are the items: ``example`` is the item's id and ``subset`` its kind.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

"""Checks of losses, methods, tasks and towers, the package's own and yours, as scikit-learn's ``check_estimator``.

Each ``check_*`` function runs every property that applies and raises one `ConformanceError`, which lists all that fail.
Each ``*_checks`` function yields ``(name, check)`` pairs instead, for a loop or for pytest::

    @pytest.mark.parametrize(("name", "check"), counterpoint.testing.loss_checks(MyLoss))
    def test_my_loss(name, check):
        check()

>>> from counterpoint.losses import SigLIPLoss
>>> from counterpoint.testing import check_loss
>>> check_loss(SigLIPLoss)
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

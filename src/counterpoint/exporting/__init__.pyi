from ._export import LAYOUTS as LAYOUTS
from ._export import Exported as Exported
from ._export import export as export
from ._export import refusals as refusals
from ._layout import Layout as Layout
from ._push import Pushed as Pushed
from ._push import push as push

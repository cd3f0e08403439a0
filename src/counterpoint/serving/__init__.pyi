from ._index import INDEX_KINDS as INDEX_KINDS
from ._index import Found as Found
from ._index import Index as Index
from ._index import index as index
from .application import app as app
from .limits import Limits as Limits
from .vectors import About as About
from .vectors import Vectors as Vectors

from .application import app as app
from .limits import Limits as Limits
from .vectors import About as About
from .vectors import Vectors as Vectors

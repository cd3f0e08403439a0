from .vectors import About as About
from .vectors import Vectors as Vectors

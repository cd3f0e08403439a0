from .captions import TextView as TextView
from .captions import text as text
from .drawing import sheet as sheet
from .keys import key as key
from .keys import uniform as uniform
from .look import looks as looks
from .pictures import ImageView as ImageView
from .pictures import image as image

from .whole import DataReport as DataReport
from .whole import report as report

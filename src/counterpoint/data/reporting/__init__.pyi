from .whole import Report as Report
from .whole import report as report

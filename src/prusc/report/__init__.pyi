from .after_run import try_report as try_report
from .after_run import with_report as with_report
from .write import compare_runs as compare_runs
from .write import write_report as write_report

"""Reports of runs and audits, comparison pages, figures and model cards, made from run folders alone."""

from prusc.report.write import compare_runs as compare_runs
from prusc.report.write import try_report as try_report
from prusc.report.write import with_report as with_report
from prusc.report.write import write_report as write_report

"""The tasks of `prusc` with their report: what the stages leave in a run folder is also shown as a page."""

from prusc.report.after_run import with_report
from prusc.runs.audit import audit as _audit
from prusc.runs.debias import debias as _debias
from prusc.runs.features import audit_features as _audit_features

debias = with_report(_debias)
audit = with_report(_audit)
audit_features = with_report(_audit_features)

"""Benchmarks: a matrix of methods, data, networks and seeds, in which all methods run under equal conditions."""

from prusc.benchmark.backends import Workers as Workers
from prusc.benchmark.matrix import Cell as Cell
from prusc.benchmark.matrix import Matrix as Matrix
from prusc.benchmark.matrix import narrow as narrow
from prusc.benchmark.matrix import parse_matrix as parse_matrix
from prusc.benchmark.matrix import read_matrix as read_matrix
from prusc.benchmark.matrix import read_suite as read_suite
from prusc.benchmark.matrix import suite_names as suite_names
from prusc.benchmark.runner import BenchResult as BenchResult
from prusc.benchmark.runner import run_bench as run_bench
from prusc.benchmark.summary import average_over_panels as average_over_panels
from prusc.benchmark.summary import paired_interval as paired_interval
from prusc.benchmark.summary import summarise_rows as summarise_rows
from prusc.benchmark.tables import markdown_tables as markdown_tables

"""The command line: it parses options, calls the library and prints."""

from prusc.cli.main import run_command_line as run_command_line

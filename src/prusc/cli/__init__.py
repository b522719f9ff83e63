"""The command line: it parses options, calls the library and prints."""

"""``python -m prusc``: the command line, also under ``torchrun``."""

from prusc.cli.main import main

if __name__ == "__main__":
    main()

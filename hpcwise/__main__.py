"""`python -m hpcwise`: the command line."""

from hpcwise.cli.main import main

if __name__ == "__main__":
    main()

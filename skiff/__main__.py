"""Lets ``python -m skiff`` do what the command ``skiff`` does."""

from skiff.cli import main

if __name__ == "__main__":
    main()

"""Entry point: ``python -m skiff`` runs the command ``skiff``."""

from skiff.cli import main

if __name__ == "__main__":
    main()

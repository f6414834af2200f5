"""``python -m facekd``."""

from facekd.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main())

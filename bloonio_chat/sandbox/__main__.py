"""``python -m bloonio_chat.sandbox``: see ``--help``."""

from __future__ import annotations

import argparse
import sys

from bloonio_chat.sandbox import cli


def main() -> int:
    """Run the sandbox; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m bloonio_chat.sandbox", description="A relay for development.")
    cli.add_arguments(parser)
    try:
        cli.run(vars(parser.parse_args()), _write)
    except (ImportError, ValueError, OSError) as error:
        sys.stderr.write(f"{parser.prog}: {error}\n")
        return 1
    return 0


def _write(line: str) -> None:
    # Whoever started us may wait for the settings.
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())

"""The `tocsin` command, from its first instant.

Reading its code takes half a second. Ctrl-C means in that time what it means later: the end, and no traceback.
"""

import os
import signal
import sys

__all__ = ["main"]


def main() -> None:
    """Run the command line."""
    # In the background of a shell Ctrl-C is ignored, and stays so.
    heard = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if heard:
        signal.signal(signal.SIGINT, _end)
    from tocsin import cli

    interruption = _Interruption()
    if heard:
        signal.signal(signal.SIGINT, interruption)
    try:
        cli.main()
    except Exception:
        # Code that is read only now may have made another error of it.
        if interruption.happened:
            sys.exit(130)
        raise


def _end(number: int, frame: object) -> None:
    # Not by an exception: modules that are half read would be told of it first.
    os._exit(128 + number)


class _Interruption:
    happened = False

    def __call__(self, number: int, frame: object) -> None:
        self.happened = True
        raise KeyboardInterrupt


if __name__ == "__main__":
    main()

"""A training that is stopped in the middle."""

import pytest

from relalign.training import loop


def stop_in_epoch(monkeypatch: pytest.MonkeyPatch, number: int) -> list[int]:
    """Interrupt the loop's epoch of this number, counted from now on, once; grows by one with each epoch."""
    real, epochs = loop._run_epoch, []

    def stops(*arguments, **settings):
        epochs.append(1)
        if len(epochs) == number:
            raise KeyboardInterrupt
        return real(*arguments, **settings)

    monkeypatch.setattr(loop, "_run_epoch", stops)
    return epochs

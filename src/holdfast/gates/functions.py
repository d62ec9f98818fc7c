"""The user's own metric, named `module:function`."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from holdfast.errors import UserError


def load_function(name: str, root: Path) -> Callable[..., float]:
    """`module:function` imported from `root`, `root/src` or the environment; UserError where that fails.

    The function is called as function(labels, predictions) or function(labels, predictions, groups) with numpy
    arrays and returns one number. It runs in Holdfast's own process: a metric is arithmetic, not a model.
    """
    module, _, attribute = name.partition(":")
    for place in (str(root / "src"), str(root)):
        if place not in sys.path:
            sys.path.insert(0, place)
    try:
        function: Any = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise UserError(
            f"the metric {name} could not be loaded: {error}.", hint="Write it as module:function."
        ) from None
    if not callable(function):
        raise UserError(f"the metric {name} is a {type(function).__name__}, not a function.")
    return function  # type: ignore[no-any-return]

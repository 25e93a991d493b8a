"""The frozen, typed view of params.yaml: one file a section, a method's in `methods/`. No other room is imported.

Each key says in its docstring what it is; `Unit:` and `Source:` end it where there is one. The JSON schema
(`relalign schema`) and docs/params.md (`relalign reference`) are generated from these files.
"""

from relalign.settings.params import Params
from relalign.settings.reading import load_params, parse_params

__all__ = ["Params", "load_params", "parse_params"]

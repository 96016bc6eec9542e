"""Work that waits until a package is imported, for packages whose import takes seconds and which many never need."""

import sys
from collections.abc import Callable, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

Act = Callable[[ModuleType], None]


def when_imported(name: str, act: Act) -> None:
    """Call `act(module)` now if the module is imported already, else once, directly after its first import.

    What only asks whether the module can be found, as `importlib.util.find_spec` does, does not use the call up.
    """
    if name in sys.modules:
        act(sys.modules[name])
    else:
        sys.meta_path.insert(0, _Watch(name, act))


class _Watch(MetaPathFinder):
    """A finder that finds one module as the other finders do, and has `act` called when the module's code has run."""

    def __init__(self, name: str, act: Act) -> None:
        self._name, self._act = name, act

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name != self._name:
            return None
        others = (each for each in sys.meta_path if not isinstance(each, _Watch) or each._name != name)
        found = (each.find_spec(name, path, target) for each in others if hasattr(each, "find_spec"))
        spec = next((each for each in found if each is not None), None)
        if spec is not None and hasattr(spec.loader, "exec_module"):
            loader: Any = spec.loader
            execute = loader.exec_module

            def exec_module(module: ModuleType) -> None:
                execute(module)
                if self in sys.meta_path:
                    sys.meta_path.remove(self)
                    self._act(sys.modules.get(name, module))

            loader.exec_module = exec_module
        return spec

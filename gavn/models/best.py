"""Record of the best value of every metric, kept in a file over restarts."""
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gavn.metrics.evaluate import is_lower_better
from gavn.metrics.table import metric_of
from gavn.runtime.files import write_text


class BestRecord:
    """Best value and its iteration for each data set and metric (its first column), in a JSON file.

    Args:
        path: the JSON file, read if it exists. None writes no file (tests of trained weights).
    """

    def __init__(self, path: Path | None, metrics: Mapping[str, Mapping[str, Any]]) -> None:
        self.path = path
        self.lower_better = {metric_of(metric['type']).columns(key)[0]: is_lower_better(metric)
                             for key, metric in metrics.items()}
        self.values: dict[str, dict[str, dict[str, Any]]] = {}
        if path is not None and path.is_file():
            self.values = json.loads(path.read_text(encoding='utf-8'))

    def better(self, data_set: str, averages: Mapping[str, float]) -> set[str]:
        """Columns in which `averages` are better than the record. Equal values are not better."""
        return {name for name in self.lower_better
                if name in averages and self._is_better(data_set, name, averages[name])}

    def update(self, data_set: str, averages: Mapping[str, float], iteration: int | str) -> None:
        """Adds better values to the record and writes the file."""
        record = self.values.setdefault(data_set, {})
        for name in self.better(data_set, averages):
            record[name] = {'value': averages[name], 'iteration': iteration}
        if self.path is not None:
            write_text(self.path, json.dumps(self.values, indent=2) + '\n')

    def _is_better(self, data_set: str, name: str, value: float) -> bool:
        old = self.values.get(data_set, {}).get(name)
        if old is None:
            return True
        return value < old['value'] if self.lower_better[name] else value > old['value']

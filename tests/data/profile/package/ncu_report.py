"""Stands in for NVIDIA's package: the part of its interface that is used, over a report written as JSON.

A report is a list of launches: [kernel, {metric: [value, unit]}]; a value of null is one that was not read.
"""

import json
from pathlib import Path


class IMetric:
    def __init__(self, value, unit):
        self._value, self._unit = value, unit

    def has_value(self):
        return self._value is not None

    def as_double(self):
        return float(self._value) if isinstance(self._value, int | float) else 0.0

    def as_string(self):
        return str(self._value)

    def unit(self):
        return self._unit


class IAction:
    def __init__(self, name, metrics):
        self._name, self._metrics = name, metrics

    def name(self):
        return self._name

    def metric_by_name(self, name):
        return IMetric(*self._metrics[name]) if name in self._metrics else None


def load_report(file_name):
    return [[IAction(name, metrics) for name, metrics in json.loads(Path(file_name).read_text())]]

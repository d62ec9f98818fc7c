"""Estimates with intervals, comparisons, power, and divergences: numpy in, numbers out."""

from holdfast.stats.divergence import Divergence, ks, psi
from holdfast.stats.interval import Estimate, needed_n
from holdfast.stats.judgement import compare, estimate
from holdfast.stats.metrics import Metric, get_metric
from holdfast.stats.multiple import holm
from holdfast.stats.power import Power, flip_rate_variance, regression_power, units_needed
from holdfast.stats.quantiles import compare_quantiles, quantile_interval

__all__ = [
    "Divergence",
    "Estimate",
    "Metric",
    "Power",
    "compare",
    "compare_quantiles",
    "estimate",
    "flip_rate_variance",
    "get_metric",
    "holm",
    "ks",
    "needed_n",
    "psi",
    "quantile_interval",
    "regression_power",
    "units_needed",
]

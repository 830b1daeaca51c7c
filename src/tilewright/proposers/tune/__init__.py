"""Launch tuning: tiles, warps and stages of the kernels a file already has."""

from tilewright.proposers.tune.proposer import Around, LaunchTuning
from tilewright.proposers.tune.rewrite import RewriteDeclined, apply_settings, install_autotune
from tilewright.proposers.tune.setting import Setting

__all__ = ["Around", "LaunchTuning", "RewriteDeclined", "Setting", "apply_settings", "install_autotune"]

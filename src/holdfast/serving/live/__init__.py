"""What a replica knows of the canary and of its inputs while requests come in, flushed to the store a second later."""

from holdfast.serving.live.evidence import LiveEvidence
from holdfast.serving.live.profile import LiveProfile, hour_profiles

__all__ = ["LiveEvidence", "LiveProfile", "hour_profiles"]

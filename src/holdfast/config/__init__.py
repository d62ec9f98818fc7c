"""What a project declares."""

from holdfast.config.loader import LoadedProject, load_project
from holdfast.config.schema import Project
from holdfast.config.validation import ModelValidationConfig

__all__ = ["LoadedProject", "ModelValidationConfig", "Project", "load_project"]

"""The section `tracking`: where runs are logged."""

from relalign.settings.section import Section


class Tracking(Section):
    """MLflow."""

    enabled: bool = True
    """Log every run."""
    uri: str | None = None
    """Empty: MLFLOW_TRACKING_URI, or else an sqlite file in the project."""
    experiment: str = "relalign"
    """MLflow's experiments are `<this>/<dataset>`, registered models `<this>-<dataset>`."""

"""The section `report`: the comparison and the page a person reads."""

from relalign.settings.section import Name, NonNegativeCount, Section


class Report(Section):
    """What the methods are compared with, and what the page shows."""

    baseline: Name = "contrastive"
    """An entry of `methods`; every other method is tested against it."""
    examples: NonNegativeCount = 3
    """Of each kind of query, how many are shown. Unit: queries."""

"""The section `export`: embedding export."""

from relalign.settings.section import Count, Section


class Export(Section):
    """Embedding the test split."""

    batch_size: Count = 512
    """Rows embedded at once. Unit: images or captions."""

"""relalign: vision-language retrieval that keeps the relations within each modality."""

__version__ = "0.1.0"

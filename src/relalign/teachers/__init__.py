"""Single-modal teachers, trained before all methods: stage 0 of CoVLR and Rebalanced."""

"""Near-duplicate groups by comparing all pairs one bit and one cell at a time, and flooding."""


def slow_groups(prints: list[tuple[int, list[int]]], max_bits: int, max_distance: float) -> list[int]:
    def same(a: int, b: int) -> bool:
        differing = bin(prints[a][0] ^ prints[b][0]).count("1")
        squares = [(x - y) ** 2 for x, y in zip(prints[a][1], prints[b][1], strict=True)]
        return differing <= max_bits and sum(squares) / len(squares) <= max_distance**2

    labels = [-1] * len(prints)
    for start in range(len(prints)):
        if labels[start] >= 0:
            continue
        label = max(labels) + 1
        todo = [start]
        while todo:
            here = todo.pop()
            if labels[here] < 0:
                labels[here] = label
                todo += [other for other in range(len(prints)) if labels[other] < 0 and same(here, other)]
    return labels

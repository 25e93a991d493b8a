"""Slow, obviously right reference implementations of the objectives: plain loops over Python floats."""

import math


def _unit(vector):
    length = math.sqrt(sum(x * x for x in vector))
    return [x / length for x in vector]


def _dot(a, b):
    return sum(x * y for x, y in zip(a, b, strict=True))


def slow_contrastive_loss(image, text, ids, temperature):
    image, text = [_unit(v) for v in image], [_unit(v) for v in text]
    total = 0.0
    for rows, columns in ((image, text), (text, image)):
        for i, row in enumerate(rows):
            exponentials = [math.exp(_dot(row, column) / temperature) for column in columns]
            same = [j for j in range(len(ids)) if ids[j] == ids[i]]
            total += sum(-math.log(exponentials[j] / sum(exponentials)) / len(same) for j in same)
    return total / (2 * len(ids))

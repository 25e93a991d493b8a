"""ROUGE-L with the textbook table, a pair at a time."""

import numpy as np


def longest_common_subsequence(left, right):
    table = [[0] * (len(right) + 1) for _ in range(len(left) + 1)]
    for i, a in enumerate(left, 1):
        for j, b in enumerate(right, 1):
            table[i][j] = table[i - 1][j - 1] + 1 if a == b else max(table[i - 1][j], table[i][j - 1])
    return table[-1][-1]


def rouge_l(captions, image_of_caption, images, beta=1.2):
    relevance = np.zeros((len(captions), images))
    for row, caption in enumerate(captions):
        candidate = caption.lower().split(" ")
        for column in range(images):
            references = [
                other.lower().split(" ")
                for other, image in zip(captions, image_of_caption, strict=True)
                if image == column
            ]
            common = [longest_common_subsequence(candidate, reference) for reference in references]
            precision = max((length / len(candidate) for length in common), default=0)
            recall = max(
                (length / len(reference) for length, reference in zip(common, references, strict=True)), default=0
            )
            if precision and recall:
                relevance[row, column] = (1 + beta**2) * precision * recall / (recall + beta**2 * precision)
    return relevance

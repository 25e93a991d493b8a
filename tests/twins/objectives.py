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


def _kl(p, q):
    return sum(x * math.log(x / y) for x, y in zip(p, q, strict=True) if x > 0)


def _softmax(values):
    exponentials = [math.exp(value - max(values)) for value in values]
    return [value / sum(exponentials) for value in exponentials]


def _entropy(row):
    return -sum(x * math.log(max(x, 1e-6)) for x in row)


def _cosines(vectors):
    unit = [_unit(vector) for vector in vectors]
    return [[_dot(a, b) for b in unit] for a in unit]


def _distance(a, b):
    return math.sqrt(sum((x - y) ** 2 for x, y in zip(a, b, strict=True)))


def slow_relation_kl(student, teacher):
    """CoVLR's relation loss without the diagonal, pair by pair."""
    distributions = []
    for vectors in (teacher, student):
        unit = [_unit(vector) for vector in vectors]
        pairs = [(i, j) for i in range(len(unit)) for j in range(len(unit)) if i != j]
        distributions.append(_softmax([_distance(unit[i], unit[j]) for i, j in pairs]))
    return _kl(*distributions) / len(student)


def slow_cosine_relation_kl(student, teacher, student_temperature, teacher_temperature):
    given, target, total = _cosines(student), _cosines(teacher), 0.0
    for i in range(len(student)):
        others = [j for j in range(len(student)) if j != i]
        p = _softmax([target[i][j] / teacher_temperature for j in others])
        q = _softmax([given[i][j] / student_temperature for j in others])
        total += _kl(p, q)
    return total / len(student)


def slow_cluster_kl(student, teacher, assignment, temperature):
    """The cluster-preserving loss given the clusters: each item against the means of others' clusters."""
    total = 0.0
    for i in range(len(student)):
        distributions = []
        for vectors in (teacher, student):
            unit, cosines = [_unit(vector) for vector in vectors], []
            for cluster in sorted(set(assignment)):
                members = [unit[j] for j in range(len(unit)) if assignment[j] == cluster and j != i]
                if members:
                    mean = [sum(column) for column in zip(*members, strict=True)]
                    cosines.append(_dot(unit[i], _unit(mean)) / temperature)
            distributions.append(_softmax(cosines))
        total += _kl(*distributions)
    return total / len(student)


def slow_nt_xent_loss(first, second, temperature):
    vectors, size = [_unit(v) for v in [*first, *second]], len(first)
    total = 0.0
    for i, vector in enumerate(vectors):
        rivals = [math.exp(_dot(vector, other) / temperature) for j, other in enumerate(vectors) if j != i]
        partner = vectors[(i + size) % (2 * size)]
        total -= math.log(math.exp(_dot(vector, partner) / temperature) / sum(rivals))
    return total / (2 * size)


def slow_structure_mae(student, teacher_image, teacher_text, mix, temperature):
    """The three mean absolute errors of structure distillation: student, image teacher, text teacher."""
    relations = [_cosines(vectors) for vectors in (student, teacher_image, teacher_text)]
    pairs = [(i, j) for i in range(len(student)) for j in range(len(student)) if i != j]
    sums = [0.0, 0.0, 0.0]
    for i, j in pairs:
        given, image, text = (matrix[i][j] / temperature for matrix in relations)
        mixed = mix * text + (1 - mix) * image
        for index, value in enumerate((given, image, text)):
            sums[index] += abs(value - mixed) / len(pairs)
    return sums


def slow_triplet_loss(scores, ids, margin, hardest):
    total = 0.0
    for i in range(len(ids)):
        rivals = [j for j in range(len(ids)) if ids[j] != ids[i]]
        for violations in (
            [max(0.0, margin + scores[i][j] - scores[i][i]) for j in rivals],
            [max(0.0, margin + scores[j][i] - scores[i][i]) for j in rivals],
        ):
            total += max(violations, default=0.0) if hardest else sum(violations)
    return total / len(ids)


def slow_alignment(kind, own, other, out, back, renormalise=False):
    """IAIS of one pair without padding; `out` leads from the anchor's tokens to the other's, `back` returns."""
    rows = range(len(own))
    if kind in ("singular", "entropy"):
        partner = [max(range(len(other)), key=lambda j, i=i: out[i][j]) for i in rows]
        chosen = [[other[partner[i]][partner[j]] for j in rows] for i in rows]
        made = [[x / sum(row) for x in row] if renormalise else _softmax(row) for row in chosen]
    elif kind == "distributed":
        made = [[sum(out[i][k] * back[k][j] for k in range(len(other))) for j in rows] for i in rows]
    else:
        inner = range(len(other))
        made = [
            _softmax([sum(out[i][k] * other[k][q] * out[j][q] for k in inner for q in inner) for j in rows])
            for i in rows
        ]
        own = [_softmax(row) for row in own]
    if kind == "entropy":
        differences = [_entropy(p) - _entropy(q) for p, q in zip(own, made, strict=True)]
        return sum(x * x for x in differences) / len(own)
    add = 1e-6 if kind == "distributed" else 0.0
    total = 0.0
    for p_row, q_row in zip(own, made, strict=True):
        for p, q in zip(p_row, q_row, strict=True):
            log_p, log_q = (math.log(max(x + add, 1e-6)) for x in (p, q))
            total += p * (log_p - log_q) + q * (log_q - log_p)
    return total / len(own)

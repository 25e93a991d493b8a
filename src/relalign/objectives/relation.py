"""Relation preservation: how items of one modality lie to each other, kept as a frozen teacher sees it."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from relalign.objectives.clusters import farthest_point_clusters, leave_one_out_cosines
from relalign.objectives.similarity import at_least_float32, cosine_matrix, euclidean_matrix, off_diagonal


def relation_kl(
    student: Float[Tensor, "batch student_width"], teacher: Float[Tensor, "batch teacher_width"]
) -> Float[Tensor, ""]:
    """CoVLR's relation loss: KL of two distributions over pairs, divided by the batch size.

    A distribution is one softmax over all B(B-1) Euclidean distances between normalised vectors, so that
    distant pairs carry more mass; KL(teacher || student). Released code keeps a diagonal fixed at 1 and adds
    1e-6 to each probability (more than a pair's own mass in a large batch); here neither takes part. No
    gradient reaches `teacher`.
    """
    target = off_diagonal(euclidean_matrix(teacher.detach())).flatten().log_softmax(0)
    given = off_diagonal(euclidean_matrix(student)).flatten().log_softmax(0)
    return F.kl_div(given, target, reduction="sum", log_target=True) / len(student)


def cosine_relation_kl(
    student: Float[Tensor, "batch student_width"],
    teacher: Float[Tensor, "batch teacher_width"],
    *,
    student_temperature: float | Float[Tensor, ""] = 0.1,
    teacher_temperature: float | Float[Tensor, ""] = 0.1,
) -> Float[Tensor, ""]:
    """Mean over items of KL(teacher || student) between softmaxes of their cosines to all other items.

    Unlike in `relation_kl` near neighbours carry the mass, and each item has a distribution of its own
    (similarity-preserving distillation as in SEED, arXiv 2101.04731, within the batch). Ours as an option for
    CoVLR. No gradient reaches `teacher`.
    """
    target = off_diagonal(cosine_matrix(teacher.detach(), teacher.detach())) / teacher_temperature
    given = off_diagonal(cosine_matrix(student, student)) / student_temperature
    return F.kl_div(given.log_softmax(1), target.log_softmax(1), reduction="batchmean", log_target=True)


def cluster_kl(
    student: Float[Tensor, "batch student_width"],
    teacher: Float[Tensor, "batch teacher_width"],
    *,
    clusters: int = 16,
    temperature: float = 0.1,
) -> Float[Tensor, ""]:
    """Mean over items of KL(teacher || student) between soft assignments to the teacher's clusters.

    Our reading of "cluster-preserving" in CoVLR's first abstract, whose loss is not published: the batch is
    clustered by the teacher's cosines; in each space an item is compared with the mean of every cluster's
    *other* members (itself left out, or a cluster of few would match itself), and cosines / temperature are
    turned into an assignment. Clusters that an item leaves empty take no part for it. No gradient reaches
    `teacher`. At most `batch` clusters are made; a single cluster gives 0.
    """
    with torch.autocast(teacher.device.type, enabled=False):  # as in `cosine_matrix`
        student, teacher = at_least_float32(student), at_least_float32(teacher.detach())
        assignment = farthest_point_clusters(teacher, clusters=min(clusters, len(teacher)))
        target, real = leave_one_out_cosines(teacher, assignment)
        given, _ = leave_one_out_cosines(student, assignment)
    # A finite filler: the KL of two -inf would be NaN; where it is the filler both probabilities are 0.
    target, given = ((cosines / temperature).masked_fill(~real, -1e4) for cosines in (target, given))
    return F.kl_div(given.log_softmax(1), target.log_softmax(1), reduction="batchmean", log_target=True)


def standardised_rows(matrix: Float[Tensor, "row column"]) -> Float[Tensor, "row column"]:
    """Each row minus its mean, over its standard deviation; a constant row becomes zeros.

    What is left of a row of similarities is its order and shape: two encoders whose cosines differ in offset
    and spread become comparable (logit standardisation, arXiv 2403.01427).
    """
    centred = matrix - matrix.mean(dim=1, keepdim=True)
    variance = centred.square().mean(dim=1, keepdim=True)
    spread = variance > torch.finfo(matrix.dtype).eps
    return centred * torch.where(spread, variance, 1.0).rsqrt() * spread

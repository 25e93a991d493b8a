"""Clusters of a batch, by cosine: what the cluster-preserving relation loss compares."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

_ROUNDS = 10


@torch.no_grad()
def farthest_point_clusters(vectors: Float[Tensor, "item width"], *, clusters: int) -> Int[Tensor, " item"]:
    """Spherical k-means from farthest-point seeds: the cluster of each item, in [0, clusters).

    Deterministic: the first seed is the item nearest the mean, each next one the item least similar to its
    nearest seed (first of equals). Ten rounds; a cluster may end up empty.
    """
    unit = F.normalize(vectors, dim=-1)
    seed = (unit @ unit.mean(dim=0)).argmax()
    seeds, nearest = [seed], unit @ unit[seed]
    for _ in range(clusters - 1):
        seed = nearest.argmin()
        seeds.append(seed)
        nearest = torch.maximum(nearest, unit @ unit[seed])
    centres = unit[torch.stack(seeds)]
    assignment = (unit @ centres.T).argmax(dim=1)
    for _ in range(_ROUNDS):
        members = F.one_hot(assignment, clusters).to(unit)
        moved = F.normalize(members.T @ unit, dim=-1)
        centres = torch.where(members.sum(dim=0)[:, None] > 0, moved, centres)
        assignment = (unit @ centres.T).argmax(dim=1)
    return assignment


def leave_one_out_cosines(
    vectors: Float[Tensor, "item width"], assignment: Int[Tensor, " item"]
) -> tuple[Float[Tensor, "item cluster"], Bool[Tensor, "item cluster"]]:
    """Cosine of each item with every cluster's mean direction without the item, and where there is one."""
    unit = F.normalize(vectors, dim=-1)
    members = F.one_hot(assignment).to(unit)
    sums = (members.T @ unit)[None] - members[:, :, None] * unit[:, None, :]
    others = members.sum(dim=0)[None] - members
    return (F.normalize(sums, dim=-1) * unit[:, None, :]).sum(dim=-1), others > 0

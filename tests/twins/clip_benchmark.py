"""CLIP_benchmark 1.6.2's zero-shot retrieval (`metrics/zeroshot_retrieval.py`, MIT), shortened.

The same calls of a model, a loader and a tokenizer, and the same numbers; the package brings dozens of others.
"""

import torch
import torch.nn.functional as F


def evaluate(model, dataloader, tokenizer, device, amp=False, recall_k_list=(5,)):
    images, texts, owners, start = [], [], [], 0
    for batch_images, batch_texts in dataloader:
        tokens = tokenizer([text for texts in batch_texts for text in texts]).to(device)
        owners += [start + place for place, texts in enumerate(batch_texts) for _ in texts]
        start += len(batch_images)
        with torch.no_grad(), torch.autocast(device, enabled=amp):
            images.append(F.normalize(model.encode_image(batch_images.to(device)), dim=-1))
            texts.append(F.normalize(model.encode_text(tokens), dim=-1))
    scores = torch.cat(texts) @ torch.cat(images).T
    positive = torch.zeros_like(scores, dtype=bool)
    positive[torch.arange(len(scores)), owners] = True
    return {
        f"{name}_retrieval_recall@{k}": right.gather(1, asked.topk(k, dim=1)[1]).any(1).float().mean().item()
        for name, asked, right in (("image", scores, positive), ("text", scores.T, positive.T))
        for k in recall_k_list
    }

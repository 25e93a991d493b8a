"""Seeds that validate on images of their own see all of train and val in turn, and never the test split."""

import numpy as np
import pandas as pd
import pytest

from relalign.data.pairs import rotate_validation


def table(train: int, val: int, test: int) -> pd.DataFrame:
    split = np.repeat(["train", "val", "test"], [train, val, test])
    images = np.arange(len(split))
    return pd.DataFrame(
        {
            "image_id": np.repeat(images, 2),
            "image_path": [f"{image}.png" for image in np.repeat(images, 2)],
            "split": np.repeat(split, 2),
        }
    ).sample(frac=1, random_state=0)


@pytest.mark.parametrize(("train", "val"), [(35, 5), (7, 1), (3, 3), (2, 4), (1, 1)])
def test_the_folds_of_all_seeds_are_train_and_val_together(train: int, val: int) -> None:
    pairs = table(train, val, test=10)
    folds = max(2, round((train + val) / val))
    validated = []
    for seed in range(folds):
        rotated = rotate_validation(pairs, seed)
        assert rotated.drop(columns="split").equals(pairs.drop(columns="split"))
        assert rotated[pairs["split"] == "test"].equals(pairs[pairs["split"] == "test"])
        splits = rotated.groupby("image_id")["split"].unique()
        assert all(len(names) == 1 for names in splits)
        validated += [image for image, names in splits.items() if names[0] == "val"]
    assert sorted(validated) == sorted(pairs[pairs["split"] != "test"]["image_id"].unique())
    assert rotate_validation(pairs, folds).equals(rotate_validation(pairs, 0))


def test_folds_are_of_equal_size_and_do_not_depend_on_the_order_of_rows() -> None:
    pairs = table(35, 5, test=10)
    rotated = rotate_validation(pairs, 3)
    assert rotated[rotated["split"] == "val"]["image_id"].nunique() == 5
    assert rotate_validation(pairs.sort_values("image_id"), 3).sort_index().equals(rotated.sort_index())


def test_a_table_without_validation_images_stays_as_it_is() -> None:
    pairs = table(5, 0, test=3)
    assert rotate_validation(pairs, 1).equals(pairs)

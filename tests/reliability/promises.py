"""The promises, the test of each, and how each was broken to see its test fail.

`python -m tests.reliability.promises > docs/reliability.md` writes the page. A promise of several parts stands
here once a part, under one number.
"""

import sys
from dataclasses import dataclass

SRC = "src/relalign"
FOUND = 64  # mutations whose test was red when all were last made
INTRODUCTION = """# What relalign promises

Each promise has a test, and each test was seen to fail: `make mutations` breaks the promises one after another
in a copy of this project and runs the test of each, which must then be red (`tests/reliability/mutations.py`). It
ends with an error if a test stays green. `python -m tests.reliability.mutations 6 17` does so for promises 6 and
17 alone.

At the last run of all, {found} of {all} changes were found. This page is made from
`tests/reliability/promises.py`; a promise of several parts has a row for each.
"""


@dataclass(frozen=True)
class Promise:
    """A promise, and a change to one file that breaks it: `text` stands there once and becomes `replacement`."""

    number: int
    sentence: str
    test: str
    broken: str
    file: str
    text: str
    replacement: str


PROMISES = (
    Promise(
        1,
        "Embeddings that are not finite or have length zero are an error that names their ids.",
        "tests/metrics/test_recall.py::test_non_finite_or_zero_rows_are_named",
        "rows of length zero are let through",
        f"{SRC}/metrics/vectors.py",
        "bad = ~(torch.isfinite(norms) & (norms > 0)).squeeze(1)",
        "bad = ~torch.isfinite(norms).squeeze(1)",
    ),
    Promise(
        2,
        "A scorer that gives all candidates one score gets what chance gets.",
        "tests/metrics/test_recall.py::test_constant_scorer_gets_chance",
        "candidates that tie with the right one are not counted",
        f"{SRC}/metrics/ranks.py",
        "tied[unsure] = ((exact - target).abs() <= TIE).sum(1)",
        "tied[unsure] = 0",
    ),
    Promise(
        2,
        "The order in which candidates are given changes no rank, also where scores tie.",
        "tests/metrics/test_recall.py::test_permuting_candidates_changes_nothing",
        "of tied candidates those in every other row come first",
        f"{SRC}/metrics/ranks.py",
        "above[unsure] = (exact > target + TIE).sum(1)",
        "above[unsure] = (exact[:, ::2] > target - TIE).sum(1) + (exact[:, 1::2] > target + TIE).sum(1)",
    ),
    Promise(
        3,
        "Within one modality the query never is its own answer, even if all similarities are negative.",
        "tests/evaluation/test_graded_retrieval.py::"
        "test_self_never_counts_even_where_all_similarities_are_negative",
        "the query's own similarity becomes 0 in place of the lowest",
        f"{SRC}/evaluation/single_modal.py",
        "score = 0.0 if released_protocol else EXCLUDED",
        "score = 0.0",
    ),
    Promise(
        3,
        "In mixed retrieval the query never is its own answer.",
        "tests/evaluation/test_graded_retrieval.py::test_mixed_equals_the_protocol_written_out",
        "the query stays among its candidates",
        f"{SRC}/evaluation/mixed.py",
        "leave_out(scores, kept, own)",
        "pass",
    ),
    Promise(
        4,
        "Success, nDCG and R-Precision equal TREC's evaluator on random rankings.",
        "tests/metrics/test_parity.py::test_random_rankings_equal_trec",
        "nDCG divides by the rank and not by its logarithm",
        f"{SRC}/metrics/ndcg.py",
        "1 / torch.log2(torch.arange(2, depth + 2, dtype=torch.float64, device=scores.device))",
        "1 / torch.arange(1, depth + 1, dtype=torch.float64, device=scores.device)",
    ),
    Promise(
        4,
        "Recall equals that of ECCV Caption and of TREC's evaluator.",
        "tests/metrics/test_parity.py::test_cross_modal_recall_equals_eccv_caption_and_trec",
        "an image's rank is that of its worst caption",
        f"{SRC}/metrics/ranks.py",
        'best = pair.new_full((len(image),), -torch.inf).scatter_reduce(0, text_to_image, pair, "amax")',
        'best = pair.new_full((len(image),), torch.inf).scatter_reduce(0, text_to_image, pair, "amin")',
    ),
    Promise(
        4,
        "mAP@R and R-Precision equal ECCV Caption's.",
        "tests/metrics/test_parity.py::test_map_at_r_and_r_precision_equal_eccv_caption",
        "the precision at a place leaves that place out",
        f"{SRC}/metrics/precision.py",
        "precision = (ranking.gain_before + 1 + earlier) / rank",
        "precision = (ranking.gain_before + earlier) / rank",
    ),
    Promise(
        4,
        "Recall equals a slow loop over queries and candidates, with many ties.",
        "tests/metrics/test_recall.py::test_equals_the_slow_twin_with_many_ties",
        "a query with several best candidates counts one of them",
        f"{SRC}/metrics/ranks.py",
        "relevant = torch.zeros_like(above).scatter_add(0, text_to_image, as_good)",
        "relevant = torch.zeros_like(above).scatter_add(0, text_to_image, as_good).clamp(max=1)",
    ),
    Promise(
        5,
        "A ranking cut short never scores higher than the full one.",
        "tests/metrics/test_reranking.py::test_a_truncated_ranking_never_scores_higher_than_the_full_one",
        "a candidate that was cut off stands right behind the cut",
        f"{SRC}/metrics/reranking.py",
        "above=torch.where(found, above.sum(1), first_stage.above)",
        "above=above.sum(1)",
    ),
    Promise(
        5,
        "Asking an index for more rows than it holds is an error.",
        "tests/training/test_runs.py::test_export_keeps_ids_beside_unit_vectors_and_the_index_answers_with_ids",
        "missing rows are answered with the id -1",
        f"{SRC}/retrieval/index.py",
        "if k > index.ntotal:",
        "if k < 0:",
    ),
    Promise(
        6,
        "A training that was killed and resumed ends in the bytes of one that was not.",
        "tests/training/test_runs.py::test_killed_training_resumes_to_the_same_bytes",
        "the optimizer starts afresh",
        f"{SRC}/training/loop.py",
        'optimizer.restore(saved.tensors.get("optimizer", {}))',
        "pass",
    ),
    Promise(
        6,
        "A resumed training still knows its best epoch.",
        "tests/training/test_runs.py::test_killed_training_resumes_to_the_same_bytes",
        "the best score so far is forgotten",
        f"{SRC}/training/loop.py",
        "progress = Progress(**saved.values)",
        'progress = Progress(**{**saved.values, "best_score": -1.0})',
    ),
    Promise(
        6,
        "A resumed training draws what it would have drawn.",
        "tests/training/test_runs.py::test_killed_training_resumes_to_the_same_bytes",
        "the order of the data goes on from wherever the process is",
        f"{SRC}/training/loop.py",
        "torch.Generator().manual_seed(2 * (seed * 1_000_003 + progress.epoch) + i) for i in (0, 1))",
        "torch.Generator().manual_seed(int(torch.randint(2**40, ()))) for i in (0, 1))",
    ),
    Promise(
        6,
        "Features whose extraction was killed and resumed are the bytes of an extraction that was not.",
        "tests/features/test_extraction.py::test_a_run_killed_at_a_random_moment_continues_to_the_same_bytes",
        "rows are marked as done before they are computed",
        f"{SRC}/features/draft.py",
        "        self._fresh.append(encoded.rows)",
        "        self._fresh.append(encoded.rows + (encoded.rows + 1 < len(self.done)))",
    ),
    Promise(
        7,
        "What the test split holds cannot change a trained model.",
        "tests/training/test_runs.py::test_what_the_test_split_holds_cannot_change_the_model",
        "training reads the pairs of all splits",
        f"{SRC}/data/pairs.py",
        'pairs = pairs[pairs["split"] == split]',
        'pairs = pairs if split == "train" else pairs[pairs["split"] == split]',
    ),
    Promise(
        7,
        "In the graph of stages, nothing that is made of the test split leads to a training.",
        "tests/workflow/test_graph.py::test_no_training_depends_on_what_is_made_of_the_test_split",
        "training depends on the test split's relevance",
        "dvc.yaml",
        "    - results/${item.dataset}/${item.method}/method.json\n"
        "    outs:\n    - results/${item.dataset}/${item.method}/seed${item.seed}/model",
        "    - data/relevance/${item.dataset}\n"
        "    outs:\n    - results/${item.dataset}/${item.method}/seed${item.seed}/model",
    ),
    Promise(
        8,
        "A process killed at any step leaves a whole result, or none.",
        "tests/system/test_artifacts.py::"
        "test_a_process_killed_at_any_step_leaves_the_old_result_the_new_one_or_none",
        "the manifest is written after the result is in its place",
        f"{SRC}/system/artifacts.py",
        """        write_manifest(draft, made_by=made_by, parameters=parameters, inputs=inputs or {})
        replaced = draft.with_name(draft.name + ".old")
        if folder.exists():
            folder.rename(replaced)
        draft.rename(folder)
""",
        """        replaced = draft.with_name(draft.name + ".old")
        if folder.exists():
            folder.rename(replaced)
        draft.rename(folder)
        write_manifest(folder, made_by=made_by, parameters=parameters, inputs=inputs or {})
""",
    ),
    Promise(
        8,
        "Every file is on the disk before a rename makes it visible.",
        "tests/system/test_artifacts.py::test_every_file_is_on_disk_before_the_rename_that_makes_it_visible",
        "files are renamed without fsync",
        f"{SRC}/system/artifacts.py",
        "    for path in files:\n        _flush(path)\n",
        "",
    ),
    Promise(
        8,
        "A truncated file of a result is refused by name.",
        "tests/features/test_store.py::test_a_truncated_file_is_refused_and_an_altered_one_on_verification",
        "sizes are not compared with the manifest",
        f"{SRC}/system/artifacts.py",
        'if not file.is_file() or file.stat().st_size != expected["bytes"]:',
        "if not file.is_file():",
    ),
    Promise(
        8,
        "Features that were damaged are computed again.",
        "tests/features/test_extraction.py::test_kept_rows_that_were_damaged_are_computed_again",
        "kept rows are taken at their word",
        f"{SRC}/features/draft.py",
        "        if draft.is_intact():",
        "        if draft:",
    ),
    Promise(
        9,
        "Features whose ids are shuffled or repeated are refused.",
        "tests/features/test_store.py::test_shuffled_or_repeated_ids_are_refused",
        "the order of ids is not looked at",
        f"{SRC}/features/store.py",
        "if not np.all(np.diff(store.ids) > 0):",
        "if not len(store.ids):",
    ),
    Promise(
        9,
        "Features of other ids than those of the pairs table are refused.",
        "tests/features/test_store.py::test_ids_that_differ_from_the_pairs_are_refused_by_name",
        "ids are not compared with the pairs table",
        f"{SRC}/features/store.py",
        "if expect_ids is not None:",
        "if expect_ids is None:",
    ),
    Promise(
        9,
        "Every row that training reads has the features of its own id.",
        "tests/training/test_split_data.py::test_every_row_has_the_features_of_its_own_id",
        "rows are taken by their place and not by their id",
        f"{SRC}/training/split_data.py",
        "return Features(table, torch.from_numpy(store.rows(ids)).to(device))",
        "return Features(table, torch.arange(len(ids)).to(device))",
    ),
    Promise(
        10,
        "Another weight, tokenizer, configuration or preprocessing makes all features new.",
        "tests/features/test_extraction.py::test_a_changed_tokenizer_or_configuration_makes_every_row_new",
        "the key has the weights alone",
        f"{SRC}/features/extraction.py",
        'if name != "licence.json"',
        'if name == "model.safetensors"',
    ),
    Promise(
        10,
        "Another prompt or length in tokens makes all features new.",
        "tests/features/test_extraction.py::test_changed_text_settings_make_every_row_new",
        "the prompt is left out of the key",
        f"{SRC}/features/extraction.py",
        'include={"kind", "modality", "max_tokens", "prefix"}',
        'include={"kind", "modality", "max_tokens"}',
    ),
    Promise(
        10,
        "Other code makes all features new.",
        "tests/features/test_extraction.py::test_changed_code_makes_every_row_new",
        "the code is left out of the key",
        f"{SRC}/features/extraction.py",
        '"code": _code_hash(encoder),',
        '"code": "",',
    ),
    Promise(
        10,
        "Another caption makes its own features new, and no others.",
        "tests/features/test_extraction.py::test_a_changed_caption_is_computed_again_alone",
        "inputs are compared by id and not by their bytes",
        f"{SRC}/features/extraction.py",
        "np.ascontiguousarray(inputs.ids).tobytes() + inputs.hashes.tobytes()",
        "np.ascontiguousarray(inputs.ids).tobytes()",
    ),
    Promise(
        11,
        "No source unpickles, loads unsafe YAML, or runs code that a file brings.",
        "tests/system/test_safe_loading.py::test_no_source_unpickles_loads_unsafe_yaml_or_runs_code_that_a_file_brings",
        "`torch.load` is allowed to unpickle",
        f"{SRC}/commands/arrays.py",
        'content = torch.load(file, map_location="cpu", weights_only=True)',
        'content = torch.load(file, map_location="cpu", weights_only=False)',
    ),
    Promise(
        11,
        "No member of an archive is unpacked outside its folder.",
        "tests/data/test_extract.py::test_path_escape_is_refused_and_writes_nothing_outside",
        "`..` is allowed in a path",
        f"{SRC}/data/extract.py",
        'if path.is_absolute() or ".." in path.parts or',
        "if path.is_absolute() or",
    ),
    Promise(
        11,
        "An archive that unpacks to more than the caps allow is stopped.",
        "tests/data/test_extract.py::test_bomb_is_stopped_at_its_cap",
        "the bytes of members are not added up",
        f"{SRC}/data/extract.py",
        "unpacked += len(block)",
        "unpacked = len(block)",
    ),
    Promise(
        12,
        "An unknown key, a wrong type or an impossible value is an error that names the path of its key.",
        "tests/settings/test_reading.py::"
        "test_an_unknown_key_a_wrong_type_and_an_impossible_value_are_named_by_their_path",
        "a text is taken for the number it looks like",
        f"{SRC}/settings/section.py",
        'extra="forbid", frozen=True, strict=True,',
        'extra="forbid", frozen=True,',
    ),
    Promise(
        13,
        "A truncated image is found, whatever its format.",
        "tests/data/test_images.py::test_truncated_file_is_unreadable_whatever_its_format",
        "missing rows of an image are filled with grey",
        f"{SRC}/data/images.py",
        "            image.load()\n",
        '            __import__("PIL.ImageFile").ImageFile.LOAD_TRUNCATED_IMAGES = True\n'
        "            image.load()\n",
    ),
    Promise(
        13,
        "An image of too many pixels is refused before it is decoded.",
        "tests/data/test_images.py::test_oversized_image_is_refused_from_its_header",
        "the number of pixels is not looked at",
        f"{SRC}/data/images.py",
        "if width * height > max_pixels:",
        "if width * height < 0:",
    ),
    Promise(
        13,
        "A photograph that was taken with the camera turned is made upright.",
        "tests/data/test_images.py::test_exif_rotation_is_made_upright",
        "the EXIF orientation is ignored",
        f"{SRC}/data/images.py",
        "upright = ImageOps.exif_transpose(image)",
        "upright = image",
    ),
    Promise(
        13,
        "Images of 16 bits are scaled to 8 bits and not clipped.",
        "tests/data/test_images.py::test_sixteen_bit_grey_is_scaled_not_clipped",
        "16 bits are clipped to 8",
        f"{SRC}/data/images.py",
        "np.round(values / 257.0)",
        "np.clip(values, 0, 255)",
    ),
    Promise(
        13,
        "Bad images stop the validation if that is asked for.",
        "tests/data/test_validation.py::test_bad_images_stop_the_stage_when_asked",
        "bad images are always skipped",
        f"{SRC}/data/validation_report.py",
        'if policy == "fail":\n        raise RelalignError(f"{summary}: {examples}. Mend them, '
        "or set validate.on_bad_image",
        'if policy == "never":\n        raise RelalignError(f"{summary}: {examples}. Mend them, '
        "or set validate.on_bad_image",
    ),
    Promise(
        13,
        "The report says how many images and captions were left out, and why.",
        "tests/report/test_report.py::test_what_validation_left_out_is_said",
        "the report leaves out the images' reasons",
        f"{SRC}/report/sources.py",
        '_counts(images["skipped"]),',
        "{},",
    ),
    Promise(
        14,
        "Equal seeds give equal bytes of a model.",
        "tests/training/test_runs.py::test_equal_seeds_give_equal_bytes_and_other_seeds_do_not",
        "dropout is not seeded",
        f"{SRC}/training/loop.py",
        "torch.manual_seed(seed * 1_000_003 + progress.epoch)",
        "torch.seed()",
    ),
    Promise(
        14,
        "Measuring again gives equal bytes of metrics and intervals.",
        "tests/evaluation/test_stage.py::test_evaluating_again_gives_the_same_bytes",
        "the bootstrap is not seeded",
        f"{SRC}/metrics/resampling.py",
        "generator = np.random.default_rng(seed)",
        "generator = np.random.default_rng()",
    ),
    Promise(
        15,
        "Every mean has an interval and its numbers of queries and images beside it.",
        "tests/evaluation/test_result_files.py::test_summary_has_an_interval_and_n_beside_every_mean",
        "the interval is the mean twice",
        f"{SRC}/evaluation/result_files.py",
        "low, high = percentile_interval(estimates[name], settings.confidence)",
        "low, high = value, value",
    ),
    Promise(
        15,
        "Every value of a comparison is the mean over a known number of seeds.",
        "tests/comparison/test_stage.py::test_values_are_means_over_seeds_of_metrics_json",
        "the value is that of the best seed",
        f"{SRC}/comparison/stage.py",
        "entry = Entry(float(np.mean(values)), seed_sd=",
        "entry = Entry(float(np.max(values)), seed_sd=",
    ),
    Promise(
        15,
        "Intervals cover the truth as often as they say, also where the captions of an image agree.",
        "tests/metrics/test_resampling.py::"
        "test_intervals_cover_the_truth_as_often_as_promised_when_captions_of_an_image_agree",
        "captions are resampled as if they were independent",
        f"{SRC}/metrics/resampling.py",
        "estimates: NDArray[np.float64] = (weights @ sums) / (weights @ counts)",
        "estimates: NDArray[np.float64] = "
        "np.random.default_rng(0).choice(values, (len(weights), len(values))).mean(1)",
    ),
    Promise(
        15,
        "Only systems that were measured on the same queries are compared.",
        "tests/comparison/test_stage.py::test_runs_on_different_queries_are_refused",
        "queries are not compared",
        f"{SRC}/comparison/paired.py",
        "if not np.array_equal(ids, expected):",
        "if not len(ids):",
    ),
    Promise(
        15,
        "Tests flip the signs of paired differences, and false alarms are as rare as they say.",
        "tests/metrics/test_significance.py::test_false_alarms_are_as_rare_as_promised",
        "half of the sign patterns that are as extreme do not count",
        f"{SRC}/metrics/significance.py",
        "extreme += (np.abs(signs @ differences) >= observed - slack).sum(0)",
        "extreme += (signs @ differences >= observed - slack).sum(0)",
    ),
    Promise(
        15,
        "Comparisons with several methods are corrected for their number.",
        "tests/comparison/test_stage.py::test_holm_corrects_over_the_methods_of_one_metric",
        "p-values are left as they are",
        f"{SRC}/metrics/significance.py",
        "stepped = p_values[order] * np.arange(len(p_values), 0, -1)",
        "stepped = p_values[order]",
    ),
    Promise(
        16,
        "The score matrix is never whole in memory.",
        "tests/metrics/test_recall.py::test_the_score_matrix_is_never_whole_in_memory",
        "a block is as large as the matrix",
        f"{SRC}/metrics/ranks.py",
        "BLOCK_ROWS = 512\nBLOCK_COLUMNS = 2048",
        "BLOCK_ROWS = BLOCK_COLUMNS = 1_000_000",
    ),
    Promise(
        17,
        "Gradients in chunks equal the whole batch's in float64.",
        "tests/features/encoders/test_cuts.py::test_gradients_in_chunks_equal_the_whole_batchs_in_float64",
        "the last chunk is left out of the backward pass",
        f"{SRC}/features/encoders/trained.py",
        "            torch.cat(parts)[back]\n",
        "            torch.cat([*parts[:-1], parts[-1].detach() if len(parts) > 1 else parts[-1]])[back]\n",
    ),
    Promise(
        17,
        "A chunk that is computed again drops the units it dropped before.",
        "tests/features/encoders/test_cuts.py::test_a_chunk_that_is_computed_again_drops_the_same_units",
        "dropout draws anew",
        f"{SRC}/features/encoders/trained.py",
        "use_reentrant=False)",
        "use_reentrant=False, preserve_rng_state=False)",
    ),
    Promise(
        18,
        "The second-order meta gradient equals finite differences in float64.",
        "tests/objectives/test_meta.py::test_second_order_gradient_matches_finite_differences",
        "the inner gradient is held constant",
        f"{SRC}/objectives/meta.py",
        'create_graph=order == "second"',
        "create_graph=False",
    ),
    Promise(
        18,
        "The first-order meta gradient is the sum of two plain gradients.",
        "tests/objectives/test_meta.py::test_first_order_gradient_is_the_sum_of_two_plain_gradients",
        "the second task is measured before the step of the first",
        f"{SRC}/objectives/meta.py",
        "test_loss = _call_with(model, moved, meta_test)",
        "test_loss = meta_test(model)",
    ),
    Promise(
        18,
        "On quadratics the meta gradient is the one derived by hand.",
        "tests/objectives/test_meta.py::test_quadratics_have_the_gradient_derived_by_hand",
        "the inner step goes uphill",
        f"{SRC}/objectives/meta.py",
        "parameters[name] - step_size * g for",
        "parameters[name] + step_size * g for",
    ),
    Promise(
        19,
        "The recall that an approximate index reports is its recall against exact search.",
        "tests/serve/test_search_index.py::test_many_rows_are_searched_in_lists_whose_measured_recall_is_true",
        "recall is measured against the index itself",
        f"{SRC}/serve/search_index.py",
        "right = exact.search(asked, RECALL_AT)[1]",
        "right = index.search(asked, RECALL_AT)[1]",
    ),
    Promise(
        19,
        "The recall of an approximate index is said with the number of queries and threads.",
        "tests/serve/test_search_index.py::"
        "test_what_an_approximate_index_finds_is_said_with_the_number_of_queries_and_threads",
        "the number of rows is given for that of queries",
        f"{SRC}/serve/search_index.py",
        "lists, recall, len(asked), faiss",
        "lists, recall, len(vectors), faiss",
    ),
    Promise(
        19,
        "Equal vectors give indexes with equal answers.",
        "tests/serve/test_search_index.py::test_lists_of_equal_vectors_give_equal_answers",
        "the index is not seeded",
        f"{SRC}/serve/search_index.py",
        "index.cp.max_points_per_centroid = ROWS_A_LIST",
        "index.cp.seed = int(np.random.default_rng().integers(2**31))",
    ),
    Promise(
        20,
        "Eight processes that start at once share one new tracking store and lose nothing.",
        "tests/tracking/test_tracking.py::test_eight_processes_share_a_fresh_store_and_lose_nothing",
        "the store is made without a lock",
        f"{SRC}/tracking/store.py",
        "    with store_lock(settings, root):\n",
        '    with __import__("contextlib").nullcontext():\n',
    ),
    Promise(
        20,
        "A store that fails is one warning and never an error.",
        "tests/tracking/test_tracking.py::test_a_store_that_fails_is_one_warning_and_never_an_error",
        "a failure is not said",
        f"{SRC}/system/best_effort.py",
        'logger.warning("%s stopped, the work itself goes on: %s", self._what, first_line)',
        'logger.debug("%s stopped, the work itself goes on: %s", self._what, first_line)',
    ),
    Promise(
        20,
        "A server that is silent delays the end by a bounded time.",
        "tests/tracking/test_tracking.py::test_a_silent_server_delays_the_end_by_no_more_than_the_patience",
        "the end waits until the server answers",
        f"{SRC}/system/best_effort.py",
        "self._thread.join(max(0.0, deadline - time.monotonic()))",
        "self._thread.join(60)",
    ),
    Promise(
        20,
        "With tracking off everything works without MLflow.",
        "tests/tracking/test_tracking.py::test_switched_off_it_never_imports_mlflow",
        "the switch is ignored",
        f"{SRC}/tracking/training_run.py",
        "side_thread(settings, root) if settings.enabled else None",
        "side_thread(settings, root)",
    ),
    Promise(
        21,
        "The temporary folder may lie on another disk.",
        "tests/reliability/test_surroundings.py::"
        "test_a_run_needs_no_network_no_gpu_no_plain_path_and_no_temporary_folder_beside_it",
        "results are prepared in the temporary folder",
        f"{SRC}/system/artifacts.py",
        'tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent)',
        'tempfile.mkdtemp(prefix=f".{folder.name}.")',
    ),
    Promise(
        21,
        "A project may lie in a folder whose name has spaces, quotes and letters of any language.",
        "tests/reliability/test_surroundings.py::"
        "test_a_run_needs_no_network_no_gpu_no_plain_path_and_no_temporary_folder_beside_it",
        "the path of an index is written in ASCII",
        f"{SRC}/retrieval/index.py",
        "faiss.write_index(index, str(path))",
        'faiss.write_index(index, str(path).encode("ascii", "replace").decode())',
    ),
    Promise(
        21,
        "Nothing needs a GPU.",
        "tests/reliability/test_surroundings.py::"
        "test_a_run_needs_no_network_no_gpu_no_plain_path_and_no_temporary_folder_beside_it",
        "`auto` means CUDA",
        f"{SRC}/training/process.py",
        'torch.device("cuda" if available and wanted != "cpu" else "cpu")',
        'torch.device("cuda" if wanted != "cpu" else "cpu")',
    ),
    Promise(
        21,
        "Training, export and evaluation ask no network.",
        "tests/reliability/test_surroundings.py::"
        "test_a_run_needs_no_network_no_gpu_no_plain_path_and_no_temporary_folder_beside_it",
        "training looks up the name of a server",
        f"{SRC}/training/runs.py",
        "    prepare_process(params)\n    run = layout.run(method, seed)\n    parameters = {",
        '    prepare_process(params)\n    with __import__("contextlib").suppress(OSError):\n'
        '        __import__("socket").getaddrinfo("localhost", 80)\n'
        "    run = layout.run(method, seed)\n    parameters = {",
    ),
    Promise(
        21,
        "Inputs are only read.",
        "tests/features/test_store.py::test_arrays_are_read_only",
        "features are opened for writing",
        f"{SRC}/features/store.py",
        'mmap_mode="r", allow_pickle=False)',
        'mmap_mode="r+", allow_pickle=False)',
    ),
)


def page() -> str:
    """docs/reliability.md."""
    rows = [f"| {p.number} | {p.sentence} | `{p.test}` | {p.broken} (`{p.file}`) |" for p in PROMISES]
    head = "| | promise | test | how it was shown to fail |\n| --- | --- | --- | --- |"
    introduction = INTRODUCTION.format(found=FOUND, all=len(PROMISES))
    return "\n".join([introduction, head, *rows, ""])


if __name__ == "__main__":
    sys.stdout.write(page())

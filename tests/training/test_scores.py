import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from training import scores

LABELS = torch.tensor([0, 0, 1, 1, 2, 2])
PROBABILITIES = torch.tensor(
    [
        [0.8, 0.1, 0.1],  # right
        [0.2, 0.7, 0.1],  # 0 taken for 1
        [0.1, 0.8, 0.1],  # right
        [0.3, 0.6, 0.1],  # right
        [0.5, 0.3, 0.2],  # 2 taken for 0
        [0.1, 0.2, 0.7],  # right
    ]
)


def test_figures_of_a_small_case_worked_by_hand():
    figures = scores.classifier_figures(LABELS, PROBABILITIES)
    assert figures["accuracy"] == pytest.approx(4 / 6)
    assert figures["top3"] == 1
    assert scores.top_k(LABELS, PROBABILITIES, 2) == pytest.approx(5 / 6)
    assert scores.confusion(LABELS, PROBABILITIES).tolist() == [[1, 1, 0], [0, 2, 0], [1, 0, 1]]
    # F1: 0 has precision 1/2 and recall 1/2; 1 has 2/3 and 1; 2 has 1 and 1/2.
    assert figures["macro_f1"] == pytest.approx((1 / 2 + 4 / 5 + 2 / 3) / 3)
    assert figures["images"] == 6
    # Bins of 1/15: (0.8, 0.8), (0.7, 0.7), 0.6 and 0.5, of which 2, 1, 1 and 0 are right.
    expected = (abs(2 - 1.6) + abs(1 - 1.4) + abs(1 - 0.6) + abs(0 - 0.5)) / 6
    assert figures["ece"] == pytest.approx(expected, abs=1e-6)


def test_wilson_interval_of_a_textbook_case():
    low, high = scores.wilson(0.81, 263)
    assert (low, high) == (pytest.approx(0.7584, abs=1e-3), pytest.approx(0.8530, abs=1e-3))
    assert scores.wilson(1.0, 10)[1] == pytest.approx(1)
    assert scores.wilson(0.0, 10)[0] == pytest.approx(0, abs=1e-12)


def test_auroc_counts_pairs():
    assert scores.auroc(torch.tensor([0.9, 0.8]), torch.tensor([0.1, 0.2])) == 1
    assert scores.auroc(torch.tensor([0.5]), torch.tensor([0.5, 0.4])) == 0.75


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 40), st.integers(2, 6), st.integers(0, 10_000))
def test_no_figure_depends_on_the_order_of_the_pictures(count, classes, seed):
    draw = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, classes, (count,), generator=draw)
    probabilities = torch.rand(count, classes, generator=draw).softmax(1)
    shuffle = torch.randperm(count, generator=draw)
    figures = scores.classifier_figures(labels, probabilities)
    assert figures == pytest.approx(scores.classifier_figures(labels[shuffle], probabilities[shuffle]))
    assert 0 <= figures["accuracy_low"] <= figures["accuracy"] <= figures["accuracy_high"] <= 1
    assert figures["accuracy"] <= figures["top3"] <= 1
    assert 0 <= figures["macro_f1"] <= 1 and 0 <= figures["ece"] <= 1


def test_sure_answers_are_counted_and_judged_apart():
    probabilities = torch.tensor([[0.9, 0.1], [0.8, 0.2], [0.45, 0.55], [0.6, 0.4]])
    found = scores.sure_figures(torch.tensor([0, 1, 0, 0]), probabilities, 0.7)
    assert found == {"sure": 0.5, "accuracy_sure": 0.5, "accuracy_unsure": 0.5}
    assert scores.sure_figures(torch.tensor([0]), probabilities[:1], 0.5)["accuracy_unsure"] == 0

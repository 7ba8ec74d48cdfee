"""The variants of benchmarks/time_to_quality.py: other settings, and terms at every n-th step."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from labelvae import Discriminator, GuidedELBO, Objective, VAETraining
from labelvae.runs.presets import MNIST

sys.path.append(str(Path(__file__).parent.parent / "benchmarks"))
import variants


def test_settings_change_by_dotted_names():
    made = variants.changed(MNIST, {"vae.optimization.batch_size": 32, "vae.objective.beta": 0.5, "rounds": 2})
    assert (made.vae.optimization.batch_size, made.vae.objective.beta, made.rounds) == (32, 0.5, 2)
    assert made.guide == MNIST.guide
    with pytest.raises(ValueError, match="no setting 'betta'"):
        variants.changed(MNIST, {"vae.objective.betta": 0.5})


def test_a_seldom_term_counts_n_times_at_every_nth_step_and_costs_nothing_between(vae, guide, images, labels):
    objective = Objective(label_weight=2.0, adversarial_weight=3.0, warm_up_share=0.0)
    discriminator = Discriminator((1, 8, 8), 3, widths=(8, 8))
    task = VAETraining(vae, GuidedELBO(guide, discriminator, objective)).eval()
    alone = GuidedELBO(objective=replace(objective, label_weight=0.0, adversarial_weight=0.0)).eval()
    scored = []
    discriminator.register_forward_hook(lambda *_: scored.append(True))

    def step():
        torch.manual_seed(1)
        return task.step(images, labels, 1.0)

    with torch.no_grad():
        plain = step()
        expected = step()["total"] + 2 * (2.0 * plain["counterfactual_label"] + 3.0 * plain["adversarial"])
        variants.make_seldom(task, {"label_weight": 3, "adversarial_weight": 3})
        torch.testing.assert_close(step()["total"], expected)
        for _ in range(2):
            scored.clear()
            between = step()
            assert between.keys() == plain.keys()
            assert not scored
            assert between["counterfactual_label"] == between["adversarial"] == between["discriminator"] == 0
            torch.manual_seed(1)
            assert between["total"] == alone(vae, images, labels).total
        torch.testing.assert_close(step()["total"], expected)
    assert {id(weight) for weight in discriminator.parameters()} <= {id(weight) for weight in task.parameters()}

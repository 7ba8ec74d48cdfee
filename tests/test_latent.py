import torch
from torch.distributions import Independent, Normal, kl_divergence

from labelvae import DiagonalGaussian


def make(batch=5, dims=3):
    return DiagonalGaussian(torch.randn(batch, dims), torch.randn(batch, dims))


def reference(gaussian):
    return Independent(Normal(gaussian.mean, gaussian.standard_deviation), 1)


def test_kl_is_that_of_torch_distributions():
    gaussian = make()
    prior = Independent(Normal(torch.zeros(5, 3), torch.ones(5, 3)), 1)
    torch.testing.assert_close(gaussian.kl(), kl_divergence(reference(gaussian), prior))
    torch.testing.assert_close(gaussian.kl_per_dimension().sum(1), gaussian.kl())


def test_kl_of_the_prior_is_zero_and_otherwise_positive():
    prior = DiagonalGaussian(torch.zeros(2, 3), torch.zeros(2, 3))
    torch.testing.assert_close(prior.kl(), torch.zeros(2))
    assert (make().kl() > 0).all()


def test_log_prob_is_that_of_torch_distributions():
    gaussian, z = make(), torch.randn(5, 3)
    torch.testing.assert_close(gaussian.log_prob(z), reference(gaussian).log_prob(z))


def test_samples_have_the_mean_and_the_variance():
    gaussian = DiagonalGaussian(torch.full((20_000, 2), 3.0), torch.full((20_000, 2), 2.0))
    samples = gaussian.rsample()
    torch.testing.assert_close(samples.mean(0), torch.full((2,), 3.0), atol=0.1, rtol=0)
    torch.testing.assert_close(samples.var(0).log(), torch.full((2,), 2.0), atol=0.1, rtol=0)


def test_sampling_is_differentiable_and_repeatable():
    mean, log_variance = torch.zeros(2, 3, requires_grad=True), torch.zeros(2, 3, requires_grad=True)
    gaussian = DiagonalGaussian(mean, log_variance)
    first = gaussian.rsample(torch.Generator().manual_seed(1))
    torch.testing.assert_close(first, gaussian.rsample(torch.Generator().manual_seed(1)), rtol=0, atol=0)
    first.sum().backward()
    torch.testing.assert_close(mean.grad, torch.ones(2, 3))
    assert log_variance.grad.abs().sum() > 0


def test_terms_are_float32_under_bfloat16():
    gaussian = DiagonalGaussian(torch.zeros(2, 3, dtype=torch.bfloat16), torch.zeros(2, 3, dtype=torch.bfloat16))
    assert gaussian.kl().dtype == gaussian.log_prob(torch.zeros(2, 3)).dtype == torch.float32


def test_a_part_of_the_batch():
    gaussian = make()
    torch.testing.assert_close(gaussian[1:3].mean, gaussian.mean[1:3])
    assert len(gaussian) == 5
    assert len(gaussian[1:3]) == 2
